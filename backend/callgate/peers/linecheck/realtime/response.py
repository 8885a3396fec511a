"""One response: what is said, with which events, in which order and at what pace. Pure.

A model speaks faster than a telephone plays: audio goes out in deltas of 200 ms, eight times as fast as real time. So a
response is done long before the caller has heard it, and an interruption has the same effect as with the real service.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from callgate.core.wire.media_stream import BYTES_PER_MS, SAMPLE_RATE

from .items import Item, Items

_MESSAGE: Mapping[str, str] = {"object": "realtime.item", "type": "message", "role": "assistant"}


class Emit(Protocol):
    """Sends a server event with this type and these fields; adds ``event_id``."""

    def __call__(self, type: str, /, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Speech:
    """A spoken message. ``audio`` is µ-law, 8,000 bytes per second."""

    audio: bytes
    transcript: str


@dataclass(frozen=True, slots=True)
class ScriptedToolCall:
    """A call of one of the session's tools. ``arguments`` is a JSON object, as text."""

    name: str
    arguments: str = "{}"


Status: TypeAlias = Literal["completed", "cancelled", "incomplete", "failed"]


@dataclass(frozen=True, slots=True)
class ScriptedResponse:
    """What a response consists of, and how it ends if nobody interrupts it.

    ``reason`` goes with ``incomplete`` (``max_output_tokens``, ``content_filter``) and with ``cancelled``
    (``turn_detected``, ``client_cancelled``); ``error`` (``type``, ``code``, ``message``) goes with ``failed``.
    """

    outputs: tuple[Speech | ScriptedToolCall, ...] = ()
    status: Status = "completed"
    reason: str | None = None
    error: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SpeechPace:
    """How audio is sent: ``delta_ms`` of audio per event, ``times`` as fast as real time."""

    delta_ms: int = 200
    times: float = 8.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What a session tells its response: the parts of the response resource that never change."""

    response_id: str
    conversation_id: str
    output: Mapping[str, Any]
    max_output_tokens: int | str
    metadata: Mapping[str, str] | None
    input_audio_bytes: int
    input_text_tokens: int


class ModelResponse:
    """A response in progress, from ``response.created`` to ``response.done``."""

    def __init__(
        self,
        answer: ScriptedResponse,
        setting: Setting,
        *,
        emit: Emit,
        items: Items,
        new_id: Callable[[str], str],
        pace: SpeechPace,
        now: float,
    ) -> None:
        self._answer = answer
        self._setting = setting
        self._emit = emit
        self._items = items
        self._new_id = new_id
        self._pace = pace
        # The items that have begun; the last one is still open while `_close` is set.
        self._output: list[Item] = []
        self._close: Callable[[str], None] | None = None
        self._text_tokens = 0
        self._steps = self._run()
        #: When `advance` has more to send; `None` once the response is done.
        self.deadline: float | None = now

    @property
    def response_id(self) -> str:
        """The response's ``id``."""
        return self._setting.response_id

    @property
    def audio_bytes(self) -> int:
        """How much audio has been sent."""
        return sum(item.audio_bytes or 0 for item in self._output)

    def advance(self, now: float) -> None:
        """Send all that is due."""
        while self.deadline is not None and self.deadline <= now:
            delay = next(self._steps, None)
            self.deadline = None if delay is None else self.deadline + delay

    def cancel(self, reason: str) -> None:
        """Stop the response now. ``reason``: ``turn_detected`` or ``client_cancelled``."""
        if self._close:
            self._close("incomplete")
        self.deadline = None
        self._done("cancelled", {"type": "cancelled", "reason": reason})

    # The steps of the response. Each yields how long to wait before the next step, in seconds.

    def _run(self) -> Iterator[float]:
        self._emit("response.created", response=self._resource("in_progress", None, with_usage=False))
        for index, output in enumerate(self._answer.outputs):
            match output:
                case Speech():
                    yield from self._speak(index, output)
                case ScriptedToolCall():
                    self._call(index, output)
        match self._answer.status:
            case "completed":
                details: dict[str, Any] | None = None
            case "failed":
                details = {"type": "failed", "error": dict(self._answer.error or {})}
            case status:
                details = {"type": status, "reason": self._answer.reason}
        self._done(self._answer.status, details)

    def _speak(self, index: int, speech: Speech) -> Iterator[float]:
        item = Item({"id": self._new_id("item"), **_MESSAGE, "status": "in_progress", "content": []}, audio_bytes=0)
        where: dict[str, Any] = {
            "response_id": self.response_id,
            "item_id": item.item_id,
            "output_index": index,
            "content_index": 0,
        }
        words = iter(speech.transcript.split(" "))
        spoken: list[str] = []

        def close(status: str) -> None:
            transcript = " ".join(spoken)
            self._emit("response.output_audio.done", **where)
            self._emit("response.output_audio_transcript.done", **where, transcript=transcript)
            self._emit("response.content_part.done", **where, part={"type": "audio", "transcript": transcript})
            item.resource["content"] = [{"type": "output_audio", "transcript": transcript}]
            self._end_item(index, item, status)

        def say(word: str) -> None:
            self._emit("response.output_audio_transcript.delta", **where, delta=f" {word}" if spoken else word)
            spoken.append(word)
            self._text_tokens += 1

        self._begin_item(index, item, close)
        self._emit("response.content_part.added", **where, part={"type": "audio", "transcript": ""})
        size = self._pace.delta_ms * BYTES_PER_MS
        for start in range(0, len(speech.audio), size):
            if (word := next(words, None)) is not None:
                say(word)
            chunk = speech.audio[start : start + size]
            assert item.audio_bytes is not None
            item.audio_bytes += len(chunk)
            self._emit("response.output_audio.delta", **where, delta=binascii.b2a_base64(chunk, newline=False).decode())
            yield len(chunk) / SAMPLE_RATE / self._pace.times
        for word in words:
            say(word)
        close("completed" if self._answer.status == "completed" else "incomplete")

    def _call(self, index: int, call: ScriptedToolCall) -> None:
        call_id = self._new_id("call")
        item = Item(
            {
                "id": self._new_id("item"),
                "object": "realtime.item",
                "type": "function_call",
                "status": "in_progress",
                "name": call.name,
                "call_id": call_id,
                "arguments": "",
            }
        )
        where = {
            "response_id": self.response_id,
            "item_id": item.item_id,
            "output_index": index,
            "call_id": call_id,
        }
        self._begin_item(index, item, None)
        half = len(call.arguments) // 2
        for delta in (call.arguments[:half], call.arguments[half:]):
            self._emit("response.function_call_arguments.delta", **where, delta=delta)
        self._emit("response.function_call_arguments.done", **where, name=call.name, arguments=call.arguments)
        item.resource["arguments"] = call.arguments
        self._text_tokens += len(call.arguments) // 4 + 1
        self._end_item(index, item, "completed")

    # The steps that all outputs share.

    def _begin_item(self, index: int, item: Item, close: Callable[[str], None] | None) -> None:
        self._output.append(item)
        self._close = close
        self._emit(
            "response.output_item.added",
            response_id=self.response_id,
            output_index=index,
            item=dict(item.resource),
        )
        previous = self._items.add(item)
        self._emit("conversation.item.added", previous_item_id=previous, item=dict(item.resource))
        self._previous_item_id = previous

    def _end_item(self, index: int, item: Item, status: str) -> None:
        self._close = None
        item.resource["status"] = status
        self._emit(
            "response.output_item.done", response_id=self.response_id, output_index=index, item=dict(item.resource)
        )
        self._emit("conversation.item.done", previous_item_id=self._previous_item_id, item=dict(item.resource))

    def _done(self, status: str, details: Mapping[str, Any] | None) -> None:
        self._emit("response.done", response=self._resource(status, details, with_usage=True))

    def _resource(self, status: str, details: Mapping[str, Any] | None, *, with_usage: bool) -> dict[str, Any]:
        return {
            "object": "realtime.response",
            "id": self.response_id,
            "status": status,
            "status_details": details,
            "output": [dict(item.resource) for item in self._output],
            "conversation_id": self._setting.conversation_id,
            "output_modalities": ["audio"],
            "max_output_tokens": self._setting.max_output_tokens,
            "audio": {"output": dict(self._setting.output)},
            "usage": self._usage() if with_usage else None,
            "metadata": dict(self._setting.metadata) if self._setting.metadata is not None else None,
        }

    def _usage(self) -> dict[str, Any]:
        # OpenAI counts one token per 100 ms of audio heard and per 50 ms of audio spoken; text is roughly one per word.
        audio_in = -(-self._setting.input_audio_bytes // (100 * BYTES_PER_MS))
        audio_out = -(-self.audio_bytes // (50 * BYTES_PER_MS))
        text_in, text_out = self._setting.input_text_tokens, self._text_tokens
        return {
            "total_tokens": audio_in + text_in + audio_out + text_out,
            "input_tokens": audio_in + text_in,
            "output_tokens": audio_out + text_out,
            "input_token_details": {
                "text_tokens": text_in,
                "audio_tokens": audio_in,
                "image_tokens": 0,
                "cached_tokens": 0,
                "cached_tokens_details": {"text_tokens": 0, "audio_tokens": 0, "image_tokens": 0},
            },
            "output_token_details": {"text_tokens": text_out, "audio_tokens": audio_out},
        }
