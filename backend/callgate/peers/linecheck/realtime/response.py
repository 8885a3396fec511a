"""One response: what is said, with which events, in which order and at what pace. Pure.

A model speaks faster than a telephone plays: audio goes out in deltas of 200 ms, eight times as fast as real time. So a
response is done long before the caller has heard it, and an interruption has the same effect as with the real service.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from callgate.core.wire.media_stream import BYTES_PER_MS

from .outputs import Making, Output, in_turn, output
from .scripted import Manner, ScriptedResponse, ScriptedToolCall, Speech, SpeechPace

__all__ = ["ModelResponse", "ScriptedResponse", "ScriptedToolCall", "Setting", "Speech", "SpeechPace", "Taken"]


@dataclass(frozen=True, slots=True)
class Setting:
    """What a session tells its response: the parts of the response resource that never change."""

    conversation_id: str
    output: Mapping[str, Any]
    max_output_tokens: int | str
    metadata: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Taken:
    """The turn that a response answers: its number, how much came in, and what is said to it."""

    number: int
    answer: ScriptedResponse
    input_audio_bytes: int = 0
    input_text_tokens: int = 0


class ModelResponse:
    """A response, from its request to ``response.done``.

    ``take``: takes the turn that is to be answered. It is called when the response begins, ``due``; a response that is
    cancelled before that answers nothing.
    """

    def __init__(self, take: Callable[[], Taken], setting: Setting, making: Making, manner: Manner, due: float) -> None:
        self._take = take
        self._setting = setting
        self._making = making
        self._manner = manner
        self._taken: Taken | None = None
        self._outputs: list[Output] = []
        self._steps = self._run()
        #: When `advance` has more to send; `None` once the response is done.
        self.deadline: float | None = due

    @property
    def response_id(self) -> str:
        """The response's ``id``."""
        return self._making.response_id

    @property
    def audio_bytes(self) -> int:
        """How much audio has been sent."""
        return sum(each.item.audio_bytes or 0 for each in self._outputs)

    def advance(self, now: float) -> None:
        """Send all that is due."""
        while self.deadline is not None and self.deadline <= now:
            delay = next(self._steps, None)
            self.deadline = None if delay is None else self.deadline + delay

    def cancel(self, reason: str) -> None:
        """Stop the response now. ``reason``: ``turn_detected`` or ``client_cancelled``."""
        if self._taken is None:
            self._created()
        for each in self._outputs:
            if each.is_open:
                each.close("incomplete")
        self.deadline = None
        self._done("cancelled", {"type": "cancelled", "reason": reason})

    def _run(self) -> Iterator[float]:
        """Go through the response. Each value is how long to wait before the next step, in seconds."""
        self._taken = taken = self._take()
        self._created()
        if thinks := self._manner.speaks_after(taken.number):
            yield thinks
        yield from self._speak(taken.answer)
        match taken.answer.status:
            case "completed":
                details: dict[str, Any] | None = None
            case "failed":
                details = {"type": "failed", "error": dict(taken.answer.error or {})}
            case status:
                details = {"type": status, "reason": taken.answer.reason}
        self._done(taken.answer.status, details)

    def _speak(self, answer: ScriptedResponse) -> Iterator[float]:
        last = len(answer.outputs) - 1
        steps = [
            self._send(index, said, cut_off=index == last and answer.status != "completed")
            for index, said in enumerate(answer.outputs)
        ]
        if answer.interleaved:
            yield from in_turn(steps)
        else:
            for each in steps:
                yield from each

    def _send(self, index: int, said: Speech | ScriptedToolCall, *, cut_off: bool) -> Iterator[float]:
        sent = output(self._making, index, said)
        self._outputs.append(sent)
        yield from sent.steps(cut_off=cut_off)

    # The response's own events.

    def _created(self) -> None:
        self._making.emit("response.created", response=self._resource("in_progress", None, with_usage=False))

    def _done(self, status: str, details: Mapping[str, Any] | None) -> None:
        self._making.emit("response.done", response=self._resource(status, details, with_usage=True))

    def _resource(self, status: str, details: Mapping[str, Any] | None, *, with_usage: bool) -> dict[str, Any]:
        return {
            "object": "realtime.response",
            "id": self.response_id,
            "status": status,
            "status_details": details,
            "output": [dict(each.item.resource) for each in self._outputs],
            "conversation_id": self._setting.conversation_id,
            "output_modalities": ["audio"],
            "max_output_tokens": self._setting.max_output_tokens,
            "audio": {"output": dict(self._setting.output)},
            "usage": self._usage() if with_usage else None,
            "metadata": dict(self._setting.metadata) if self._setting.metadata is not None else None,
        }

    def _usage(self) -> dict[str, Any]:
        # OpenAI counts one token per 100 ms of audio heard and per 50 ms of audio spoken; text is roughly one per word.
        taken = self._taken or Taken(0, ScriptedResponse())
        audio_in = -(-taken.input_audio_bytes // (100 * BYTES_PER_MS))
        audio_out = -(-self.audio_bytes // (50 * BYTES_PER_MS))
        text_in, text_out = taken.input_text_tokens, sum(each.text_tokens for each in self._outputs)
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
