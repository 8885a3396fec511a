"""The output items of a response, a spoken message or a function call: with which events, and in which order. Pure."""

from __future__ import annotations

import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from callgate.core.wire.media_stream import BYTES_PER_MS, SAMPLE_RATE

from .items import Item, Items
from .scripted import ScriptedToolCall, Speech, SpeechPace

_MESSAGE: Mapping[str, str] = {"object": "realtime.item", "type": "message", "role": "assistant"}


class Emit(Protocol):
    """Sends a server event with this type and these fields; adds ``event_id``."""

    def __call__(self, type: str, /, **fields: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Making:
    """What every output needs in order to be sent."""

    response_id: str
    emit: Emit
    items: Items
    new_id: Callable[[str], str]
    pace: SpeechPace


class Output:
    """An output item, which is in progress from its first event until `close`."""

    def __init__(self, making: Making, index: int, item: Item) -> None:
        self.item = item
        self.text_tokens = 0
        self.is_open = False
        self._emit = making.emit
        self._items = making.items
        self._where: dict[str, Any] = {
            "response_id": making.response_id,
            "item_id": item.item_id,
            "output_index": index,
        }
        self._previous: str | None = None

    def steps(self, *, cut_off: bool) -> Iterator[float]:
        """Send the item. Each value is how long to wait before the next step, in seconds. ``cut_off``: the response
        ends in the middle of it."""
        raise NotImplementedError

    def close(self, status: str) -> None:
        """Send the events that end the item: ``completed`` or ``incomplete``."""
        raise NotImplementedError

    def _begin(self) -> None:
        self.is_open = True
        resource = self.item.resource
        self._emit("response.output_item.added", **_without(self._where, "item_id"), item=dict(resource))
        self._previous = self._items.add(self.item)
        self._emit("conversation.item.added", previous_item_id=self._previous, item=dict(resource))

    def _end(self, status: str) -> None:
        self.is_open = False
        resource = self.item.resource
        resource["status"] = status
        self._emit("response.output_item.done", **_without(self._where, "item_id"), item=dict(resource))
        self._emit("conversation.item.done", previous_item_id=self._previous, item=dict(resource))


class SpokenOutput(Output):
    """A spoken message, with its transcript."""

    def __init__(self, making: Making, index: int, speech: Speech) -> None:
        resource = {"id": making.new_id("item"), **_MESSAGE, "status": "in_progress", "content": []}
        super().__init__(making, index, Item(resource, audio_bytes=0, audio_index=speech.content_index))
        self._speech = speech
        self._pace = making.pace
        self._part = {**self._where, "content_index": speech.content_index}
        self._spoken: list[str] = []

    def steps(self, *, cut_off: bool) -> Iterator[float]:
        self._begin()
        for index in range(self._speech.content_index):
            self._write(index)
        self._emit("response.content_part.added", **self._part, part={"type": "audio", "transcript": ""})
        words = iter(self._speech.transcript.split(" "))
        for chunk in _pieces(self._speech.audio, self._pace.delta_ms * BYTES_PER_MS):
            if (word := next(words, None)) is not None:
                self._say(word)
            assert self.item.audio_bytes is not None
            self.item.audio_bytes += len(chunk)
            delta = binascii.b2a_base64(chunk, newline=False).decode()
            self._emit("response.output_audio.delta", **self._part, delta=delta)
            yield len(chunk) / SAMPLE_RATE / self._pace.times
        for word in words:
            self._say(word)
        self.close("incomplete" if cut_off else "completed")

    def close(self, status: str) -> None:
        transcript = " ".join(self._spoken)
        self._emit("response.output_audio.done", **self._part)
        self._emit("response.output_audio_transcript.done", **self._part, transcript=transcript)
        self._emit("response.content_part.done", **self._part, part={"type": "audio", "transcript": transcript})
        self._add({"type": "output_audio", "transcript": transcript})
        self._end(status)

    def _say(self, word: str) -> None:
        delta = f" {word}" if self._spoken else word
        self._emit("response.output_audio_transcript.delta", **self._part, delta=delta)
        self._spoken.append(word)
        self.text_tokens += 1

    def _write(self, index: int) -> None:
        """Send a part of text, before the part that is spoken."""
        part = {**self._where, "content_index": index}
        text = self._speech.transcript
        self._emit("response.content_part.added", **part, part={"type": "text", "text": ""})
        self._emit("response.output_text.delta", **part, delta=text)
        self._emit("response.output_text.done", **part, text=text)
        self._emit("response.content_part.done", **part, part={"type": "text", "text": text})
        self._add({"type": "output_text", "text": text})

    def _add(self, part: Mapping[str, Any]) -> None:
        resource = self.item.resource
        resource["content"] = [*resource["content"], part]  # events sent before keep the old list


class CallOutput(Output):
    """A call of a function."""

    def __init__(self, making: Making, index: int, call: ScriptedToolCall) -> None:
        self._call_id = call.call_id or making.new_id("call")
        resource = {
            "id": making.new_id("item"),
            "object": "realtime.item",
            "type": "function_call",
            "status": "in_progress",
            "name": call.name,
            "call_id": self._call_id,
            "arguments": "",
        }
        super().__init__(making, index, Item(resource))
        self._call = call
        self._written = ""

    def steps(self, *, cut_off: bool) -> Iterator[float]:
        self._begin()
        arguments = self._call.arguments
        half = len(arguments) // 2
        for piece in (arguments[:half],) if cut_off else (arguments[:half], arguments[half:]):
            where = {**self._where, "call_id": self._call_id}
            self._emit("response.function_call_arguments.delta", **where, delta=piece)
            self._written += piece
        self.text_tokens += len(self._written) // 4 + 1
        self.close("incomplete" if cut_off else "completed")
        yield from ()

    def close(self, status: str) -> None:
        self.item.resource["arguments"] = self._written
        where = {**self._where, "call_id": self._call_id}
        # As OpenAI documents, this comes also when the response is cut off.
        self._emit("response.function_call_arguments.done", **where, name=self._call.name, arguments=self._written)
        self._end(status)


def output(making: Making, index: int, said: Speech | ScriptedToolCall) -> Output:
    """Return the output item for what is said or called."""
    return SpokenOutput(making, index, said) if isinstance(said, Speech) else CallOutput(making, index, said)


def in_turn(steps: Sequence[Iterator[float]]) -> Iterator[float]:
    """Go through several outputs at the same time, a step of each in turn."""
    waiting = list(steps)
    while waiting:
        for each in tuple(waiting):
            delay = next(each, None)
            if delay is None:
                waiting.remove(each)
            else:
                yield delay


def _pieces(audio: bytes, size: int) -> Iterator[bytes]:
    return (audio[start : start + size] for start in range(0, len(audio), size))


def _without(where: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in where.items() if key != name}
