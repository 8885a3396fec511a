"""The server side of a GA Realtime session: client events in, server events out. Pure: no I/O, no clock.

Time is passed in, in seconds of any monotonic clock. The caller calls `RealtimeServer.open` once, `receive` for each
frame, and `tick` at `next_deadline`, and sends the events that each of them returns, in order. What is said is not
decided here, but by an `Answerer`.

Source of the events' shapes: the types of OpenAI's SDK (``openai.types.realtime``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from callgate.core.wire.media_stream import BYTES_PER_MS, SAMPLE_RATE

from .client_events import Event, check, decode
from .input_audio import InputAudioBuffer, SpeechBegan, SpeechEnded
from .items import Item, Items
from .outputs import Making
from .pending_turn import PendingTurn, ToAnswer
from .response import ModelResponse, Setting, Taken
from .schema import EventRefused
from .scripted import Manner, ScriptedResponse
from .server_events import ServerEvents
from .session import PCMU, RealtimeSession

Answerer: TypeAlias = Callable[[ToAnswer], ScriptedResponse]

_USUAL = Manner()


class RealtimeServer:
    """One session. ``name`` makes its ids differ from those of other sessions; ``expires_at`` is a Unix time.
    ``transcribe`` returns None for words that can't be transcribed."""

    def __init__(
        self,
        answerer: Answerer,
        *,
        name: str,
        model: str,
        transcribe: Callable[[bytes], str | None],
        expires_at: int | None = None,
        manner: Manner = _USUAL,
        rate_limits: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._answerer = answerer
        self._manner = manner
        self._events = ServerEvents(name, transcribe, rate_limits)
        self._session = RealtimeSession(self._events.new_id("sess"), model, expires_at=expires_at)
        self._input = InputAudioBuffer(self._session.turn_detection)
        self._items = Items()
        self._conversation_id = self._events.new_id("conv")
        self._response: ModelResponse | None = None
        self._pending = PendingTurn()
        # The id announced for the current utterance.
        self._speech_item_id: str | None = None
        # When the caller's silence triggers a response (``idle_timeout_ms``).
        self._idle_deadline: float | None = None

    # The interface.

    @property
    def is_responding(self) -> bool:
        """Whether a response is in progress, or about to begin."""
        return self._response is not None

    @property
    def next_deadline(self) -> float | None:
        """When `tick` is next due; `None` if nothing is in progress."""
        deadlines = [self._response.deadline if self._response else None, self._idle_deadline]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def open(self, now: float) -> list[Event]:
        """Begin the session. Call this when the connection is open."""
        self._events.emit("session.created", session=self._session.resource)
        return self._flush(now)

    def receive(self, frame: str | bytes, now: float) -> list[Event]:
        """Handle a WebSocket message. What can't be carried out is answered with an ``error`` event."""
        self._advance(now)
        event_id: str | None = None
        try:
            event = decode(frame)
            given_id = event.get("event_id")
            event_id = given_id if isinstance(given_id, str) else None
            self._carry_out(check(event), now)
        except EventRefused as refused:
            self._events.refusal(refused, event_id)
        return self._flush(now)

    def tick(self, now: float) -> list[Event]:
        """Do what is due at this time."""
        return self._flush(now)

    def fail(self, type: str, code: str, message: str, now: float) -> list[Event]:
        """Send an ``error`` event that no client event caused, because the service itself fails."""
        self._events.error(type, code, message)
        return self._flush(now)

    # Client events.

    def _carry_out(self, event: Event, now: float) -> None:
        match event["type"]:
            case "input_audio_buffer.append":
                self._append(event["audio"], now)
            case "session.update":
                self._update(event["session"], now)
            case "input_audio_buffer.commit":
                self._commit(self._input.commit())
            case "input_audio_buffer.clear":
                self._input.clear()
                self._events.emit("input_audio_buffer.cleared")
            case "conversation.item.create":
                self._create_item(event["item"], event.get("previous_item_id"))
            case "conversation.item.retrieve":
                self._events.emit("conversation.item.retrieved", item=self._items.get(event["item_id"]).resource)
            case "conversation.item.truncate":
                where = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
                self._items.truncate(**where)
                self._events.emit("conversation.item.truncated", **where)
            case "conversation.item.delete":
                self._items.delete(event["item_id"])
                self._events.emit("conversation.item.deleted", item_id=event["item_id"])
            case "response.create":
                self._create_response(event.get("response") or {}, now)
            case "response.cancel":
                self._cancel_response(event.get("response_id"))

    def _update(self, changes: Any, now: float) -> None:
        before = self._session.turn_detection
        self._session.update(changes)
        if self._session.turn_detection != before:
            self._input.configure(self._session.turn_detection)
            self._speech_item_id = None
            self._idle_deadline = None
        self._events.emit("session.updated", session=self._session.resource)

    def _append(self, audio: bytes, now: float) -> None:
        self._require_pcmu("input", self._session.input_format)
        for seen in self._input.append(audio):
            match seen:
                case SpeechBegan():
                    self._start_speech(seen)
                case SpeechEnded():
                    self._stop_speech(seen, now)

    def _create_item(self, resource: dict[str, Any], previous_item_id: str | None) -> None:
        item, previous = self._items.create(resource, self._events.new_id("item"), previous_item_id)
        self._events.item(item, previous)
        self._pending.add_item(resource)

    def _cancel_response(self, response_id: str | None) -> None:
        active = self._response
        if active is None or (response_id is not None and response_id != active.response_id):
            raise EventRefused("response_cancel_not_active", "Cancellation failed: no active response found")
        active.cancel("client_cancelled")
        self._finish_response()

    # Turns.

    def _start_speech(self, started: SpeechBegan) -> None:
        self._speech_item_id = self._events.new_id("item")
        self._idle_deadline = None
        self._events.emit(
            "input_audio_buffer.speech_started", audio_start_ms=started.audio_start_ms, item_id=self._speech_item_id
        )
        turn_detection = self._session.turn_detection
        if turn_detection and turn_detection.interrupt_response:
            self._pending.resume(started)
            if self._response:
                self._response.cancel("turn_detected")
                self._finish_response()

    def _stop_speech(self, stopped: SpeechEnded, now: float) -> None:
        self._events.emit(
            "input_audio_buffer.speech_stopped", audio_end_ms=stopped.audio_end_ms, item_id=self._speech_item_id
        )
        self._commit(stopped.audio)
        turn_detection = self._session.turn_detection
        is_answered = self._manner.answers(self._pending.ended())
        # As OpenAI documents: without interrupt_response, no response is created while one is active.
        if turn_detection and turn_detection.create_response and is_answered and self._response is None:
            self._pending.answered_at(stopped)
            self._answer_unasked(now)

    def _answer_unasked(self, now: float) -> None:
        try:
            self._create_response({}, now)
        except EventRefused as refused:
            self._events.refusal(refused, None)

    def _commit(self, audio: bytes) -> None:
        item_id = self._speech_item_id or self._events.new_id("item")
        self._speech_item_id = None
        content = {"type": "input_audio", "transcript": None}
        item = Item(
            {
                "id": item_id,
                "object": "realtime.item",
                "type": "message",
                "status": "completed",
                "role": "user",
                "content": [content],
            }
        )
        previous = self._items.add(item)
        self._events.emit("input_audio_buffer.committed", previous_item_id=previous, item_id=item_id)
        self._events.item(item, previous)
        self._pending.add_audio(audio)
        if self._session.transcribes and audio:
            self._events.transcription(item_id, audio)

    def _create_response(self, options: Mapping[str, Any], now: float) -> None:
        if self._response is not None:
            message = (
                f"Conversation already has an active response in progress: {self._response.response_id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise EventRefused("conversation_already_has_active_response", message)
        output = self._session.output(options.get("audio", {}).get("output", {}))
        self._require_pcmu("output", output["format"]["type"])
        self._idle_deadline = None
        setting = Setting(
            conversation_id=self._conversation_id,
            output=output,
            max_output_tokens=options.get("max_output_tokens", self._session.max_output_tokens),
            metadata=options.get("metadata"),
        )
        events = self._events
        making = Making(events.new_id("resp"), events.emit, self._items, events.new_id, self._manner.pace)
        instructions = options.get("instructions", self._session.instructions)
        due = now + self._manner.created_after(self._pending.number)
        self._response = ModelResponse(lambda: self._take_turn(instructions), setting, making, self._manner, due)

    def _take_turn(self, instructions: str) -> Taken:
        turn = self._pending.take(instructions)
        tokens = len(f"{turn.instructions} {turn.text or ''}".split())
        return Taken(turn.number, self._answerer(turn), len(turn.heard), tokens)

    def _require_pcmu(self, side: str, kind: str) -> None:
        if kind != PCMU:
            param = f"session.audio.{side}.format.type"
            message = f"Invalid value: '{kind}'. Supported values are: '{PCMU}'; set it with session.update."
            raise EventRefused("invalid_value", message, param=param)

    # Time.

    def _advance(self, now: float) -> None:
        if self._response:
            self._response.advance(now)
            if self._response.deadline is None:
                self._await_caller(self._response.audio_bytes / SAMPLE_RATE, now)
                self._finish_response()
        if self._idle_deadline is not None and self._idle_deadline <= now:
            self._time_out(now)

    def _finish_response(self) -> None:
        self._response = None
        self._events.limits()

    def _await_caller(self, playback: float, now: float) -> None:
        turn_detection = self._session.turn_detection
        if turn_detection and turn_detection.idle_timeout_ms is not None and self._speech_item_id is None:
            self._idle_deadline = now + playback + turn_detection.idle_timeout_ms / 1000

    def _time_out(self, now: float) -> None:
        turn_detection = self._session.turn_detection
        assert turn_detection is not None
        assert turn_detection.idle_timeout_ms is not None
        self._idle_deadline = None
        end = self._input.position // BYTES_PER_MS
        self._speech_item_id = self._events.new_id("item")
        self._events.emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=max(end - turn_detection.idle_timeout_ms, 0),
            audio_end_ms=end,
            item_id=self._speech_item_id,
        )
        self._commit(b"")
        self._answer_unasked(now)

    def _flush(self, now: float) -> list[Event]:
        self._advance(now)
        return self._events.take()
