"""The server's side of a GA Realtime session: client events in, server events out. Pure: no I/O, no clock.

Time is passed in, in seconds of any monotonic clock. The shell around it calls `RealtimeServer.open` once, `receive`
for each frame, `tick` at `next_deadline`, and sends the events each of them returns, in order. What is said is not
decided here: an `Answerer` is asked for it.

Source of the events' shapes: the types of OpenAI's SDK (``openai.types.realtime``).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from callgate.core.wire.media_stream import BYTES_PER_MS, SAMPLE_RATE, SILENCE

from .client_events import Event, check, decode
from .input_audio import MAX_UTTERANCE_BYTES, InputAudioBuffer, SpeechStarted, SpeechStopped
from .items import Item, Items
from .response import Answer, Pace, Response, Setting
from .schema import Refused
from .session import PCMU, Session

# A caller who goes on this soon after a turn was taken for ended had only paused.
PAUSE_BYTES = 1_000 * BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class Turn:
    """What there is to answer.

    ``number`` counts the session's responses from 0. ``heard`` is the caller's audio, µ-law, committed since the last
    response; when the caller had only paused, it begins with what was said before the pause. ``text`` is the last text
    item a client added since the last response, ``function_output`` the last result of a tool.
    """

    number: int
    instructions: str
    heard: bytes = b""
    text: str | None = None
    function_output: str | None = None


Answerer: TypeAlias = Callable[[Turn], Answer]


class RealtimeServer:
    """One session. ``name`` makes its ids unlike those of other sessions; ``expires_at`` is a Unix time."""

    def __init__(
        self,
        answerer: Answerer,
        *,
        name: str,
        model: str,
        transcribe: Callable[[bytes], str],
        expires_at: int | None = None,
        pace: Pace | None = None,
        rate_limits: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        self._answerer = answerer
        self._name = name
        self._transcribe = transcribe
        self._pace = pace or Pace()
        self._rate_limits = rate_limits
        self._numbers = itertools.count(1)
        self._outgoing: list[Event] = []

        self._session = Session(self._new_id("sess"), model, expires_at=expires_at)
        self._input = InputAudioBuffer(self._session.turn_detection)
        self._items = Items()
        self._conversation_id = self._new_id("conv")
        self._response: Response | None = None
        # What the next response has to answer.
        self._turn = Turn(number=0, instructions="")
        # The id announced for the utterance that runs.
        self._speech_item_id: str | None = None
        # The end of the last utterance, and what was answered then: taken up again when the caller only paused.
        self._stopped: SpeechStopped | None = None
        self._answered = b""
        # When the caller's silence triggers a response (``idle_timeout_ms``).
        self._idle_deadline: float | None = None

    # What the shell calls.

    @property
    def next_deadline(self) -> float | None:
        """When `tick` is next due; `None` when nothing is under way."""
        deadlines = [self._response.deadline if self._response else None, self._idle_deadline]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def open(self, now: float) -> list[Event]:
        """The connection is made."""
        self._emit("session.created", session=self._session.resource)
        return self._flush(now)

    def receive(self, frame: str | bytes, now: float) -> list[Event]:
        """A WebSocket message has come. What can't be carried out is answered with an ``error`` event."""
        self._advance(now)
        event_id: str | None = None
        try:
            event = decode(frame)
            given_id = event.get("event_id")
            event_id = given_id if isinstance(given_id, str) else None
            self._carry_out(check(event), now)
        except Refused as refused:
            self._emit_refusal(refused, event_id)
        return self._flush(now)

    def tick(self, now: float) -> list[Event]:
        """Time has passed."""
        return self._flush(now)

    def fail(self, type: str, code: str, message: str, now: float) -> list[Event]:
        """The service itself fails: an ``error`` event that no client event caused."""
        self._emit_error(type, code, message)
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
                self._emit("input_audio_buffer.cleared")
            case "conversation.item.create":
                self._create_item(event["item"], event.get("previous_item_id"))
            case "conversation.item.retrieve":
                self._emit("conversation.item.retrieved", item=self._items.get(event["item_id"]).resource)
            case "conversation.item.truncate":
                where = {name: event[name] for name in ("item_id", "content_index", "audio_end_ms")}
                self._items.truncate(**where)
                self._emit("conversation.item.truncated", **where)
            case "conversation.item.delete":
                self._items.delete(event["item_id"])
                self._emit("conversation.item.deleted", item_id=event["item_id"])
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
        self._emit("session.updated", session=self._session.resource)

    def _append(self, audio: bytes, now: float) -> None:
        self._require_pcmu("input", self._session.input_format)
        for seen in self._input.append(audio):
            match seen:
                case SpeechStarted():
                    self._start_speech(seen)
                case SpeechStopped():
                    self._stop_speech(seen, now)

    def _create_item(self, resource: dict[str, Any], previous_item_id: str | None) -> None:
        item, previous = self._items.create(resource, self._new_id("item"), previous_item_id)
        self._emit_item(item, previous)
        for part in resource.get("content", ()):
            if "text" in part and resource["role"] == "user":
                self._turn = replace(self._turn, text=part["text"])
            if "audio" in part:
                self._turn = replace(self._turn, heard=self._turn.heard + part["audio"])
        if resource["type"] == "function_call_output":
            self._turn = replace(self._turn, function_output=resource["output"])

    def _cancel_response(self, response_id: str | None) -> None:
        active = self._response
        if active is None or (response_id is not None and response_id != active.response_id):
            raise Refused("response_cancel_not_active", "Cancellation failed: no active response found")
        active.cancel("client_cancelled")
        self._finish_response()

    # Turns.

    def _start_speech(self, started: SpeechStarted) -> None:
        self._speech_item_id = self._new_id("item")
        self._idle_deadline = None
        self._emit(
            "input_audio_buffer.speech_started", audio_start_ms=started.audio_start_ms, item_id=self._speech_item_id
        )
        turn_detection = self._session.turn_detection
        if turn_detection and turn_detection.interrupt_response:
            self._resume_utterance(started)
            if self._response:
                self._response.cancel("turn_detected")
                self._finish_response()

    def _resume_utterance(self, started: SpeechStarted) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped is None or started.position - stopped.position > PAUSE_BYTES:
            return
        pause = bytes([SILENCE]) * (started.position - stopped.end)
        if len(self._answered) + len(pause) < MAX_UTTERANCE_BYTES:
            self._turn = replace(self._turn, heard=self._answered + pause)

    def _stop_speech(self, stopped: SpeechStopped, now: float) -> None:
        self._emit("input_audio_buffer.speech_stopped", audio_end_ms=stopped.audio_end_ms, item_id=self._speech_item_id)
        self._commit(stopped.audio)
        turn_detection = self._session.turn_detection
        # As the service documents: without interrupt_response, no response is created while one is active.
        if turn_detection and turn_detection.create_response and self._response is None:
            self._stopped, self._answered = stopped, self._turn.heard
            self._answer_unasked(now)

    def _answer_unasked(self, now: float) -> None:
        try:
            self._create_response({}, now)
        except Refused as refused:
            self._emit_refusal(refused, None)

    def _commit(self, audio: bytes) -> None:
        item_id = self._speech_item_id or self._new_id("item")
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
        self._emit("input_audio_buffer.committed", previous_item_id=previous, item_id=item_id)
        self._emit_item(item, previous)
        self._turn = replace(self._turn, heard=self._turn.heard + audio)
        if self._session.transcribes and audio:
            self._emit_transcription(item_id, audio)

    def _create_response(self, options: Mapping[str, Any], now: float) -> None:
        if self._response is not None:
            message = (
                f"Conversation already has an active response in progress: {self._response.response_id}. "
                "Wait until the response is finished before creating a new one."
            )
            raise Refused("conversation_already_has_active_response", message)
        output = self._session.output(options.get("audio", {}).get("output", {}))
        self._require_pcmu("output", output["format"]["type"])
        turn = replace(self._turn, instructions=options.get("instructions", self._session.instructions))
        self._turn = Turn(number=turn.number + 1, instructions="")
        self._idle_deadline = None
        setting = Setting(
            response_id=self._new_id("resp"),
            conversation_id=self._conversation_id,
            output=output,
            max_output_tokens=options.get("max_output_tokens", self._session.max_output_tokens),
            metadata=options.get("metadata"),
            input_audio_bytes=len(turn.heard),
            input_text_tokens=len(f"{turn.instructions} {turn.text or ''}".split()),
        )
        self._response = Response(
            self._answerer(turn),
            setting,
            emit=self._emit,
            items=self._items,
            new_id=self._new_id,
            pace=self._pace,
            now=now,
        )

    def _require_pcmu(self, side: str, kind: str) -> None:
        if kind != PCMU:
            param = f"session.audio.{side}.format.type"
            message = f"Invalid value: '{kind}'. Supported values are: '{PCMU}'; set it with session.update."
            raise Refused("invalid_value", message, param=param)

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
        self._emit("rate_limits.updated", rate_limits=[dict(limit) for limit in self._rate_limits])

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
        self._speech_item_id = self._new_id("item")
        self._emit(
            "input_audio_buffer.timeout_triggered",
            audio_start_ms=max(end - turn_detection.idle_timeout_ms, 0),
            audio_end_ms=end,
            item_id=self._speech_item_id,
        )
        self._commit(b"")
        self._answer_unasked(now)

    # Server events.

    def _flush(self, now: float) -> list[Event]:
        self._advance(now)
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def _emit(self, type: str, /, **fields: Any) -> None:
        self._outgoing.append({"type": type, "event_id": self._new_id("event"), **fields})

    def _emit_refusal(self, refused: Refused, event_id: str | None) -> None:
        self._emit_error("invalid_request_error", refused.code, refused.message, refused.param, event_id)

    def _emit_error(
        self, type: str, code: str | None, message: str, param: str | None = None, event_id: str | None = None
    ) -> None:
        error = {"type": type, "code": code, "message": message, "param": param, "event_id": event_id}
        self._emit("error", error=error)

    def _emit_item(self, item: Item, previous_item_id: str | None) -> None:
        self._emit("conversation.item.added", previous_item_id=previous_item_id, item=dict(item.resource))
        self._emit("conversation.item.done", previous_item_id=previous_item_id, item=dict(item.resource))

    def _emit_transcription(self, item_id: str, audio: bytes) -> None:
        kind = "conversation.item.input_audio_transcription"
        transcript = self._transcribe(audio)
        self._emit(f"{kind}.delta", item_id=item_id, content_index=0, delta=transcript)
        usage = {"type": "duration", "seconds": len(audio) / SAMPLE_RATE}
        self._emit(f"{kind}.completed", item_id=item_id, content_index=0, transcript=transcript, usage=usage)

    def _new_id(self, kind: str) -> str:
        return f"{kind}_{self._name}{next(self._numbers):06x}"
