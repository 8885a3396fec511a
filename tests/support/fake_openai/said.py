"""What the fake's model says, and how its responses end."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from callgate.core.wire.media_stream import SAMPLE_RATE, SILENCE
from callgate.peers.linecheck import clips
from callgate.peers.linecheck.realtime.pending_turn import ToAnswer
from callgate.peers.linecheck.realtime.protocol import Answerer
from callgate.peers.linecheck.realtime.scripted import ScriptedResponse, ScriptedToolCall, Speech, SpeechPace


def say(audio: bytes, transcript: str = "Hello.") -> ScriptedResponse:
    """Return a response that speaks these µ-law bytes."""
    return ScriptedResponse((Speech(audio, transcript),))


def tone(seconds: float, hertz: float = 440.0, *, dbfs: float = -14.0) -> bytes:
    """Return a tone of about this level, µ-law. Tones of different pitches have different bytes."""
    amplitude = math.sqrt(2) * 10 ** (dbfs / 20)
    samples = range(round(seconds * SAMPLE_RATE))
    return bytes(clips.encode_sample(amplitude * math.sin(2 * math.pi * hertz * n / SAMPLE_RATE)) for n in samples)


def tool(name: str, /, *, first: Speech | None = None, **arguments: Any) -> ScriptedResponse:
    """Return a response that calls a tool, after speech if ``first`` is given."""
    return tools(asking(name, **arguments), first=first)


def asking(name: str, /, *, call_id: str | None = None, **arguments: Any) -> ScriptedToolCall:
    """Return one tool call. With a ``call_id``, the same call can be made twice."""
    return ScriptedToolCall(name, json.dumps(arguments), call_id)


def tools(*calls: ScriptedToolCall, first: Speech | None = None) -> ScriptedResponse:
    """Return a response that calls several tools, after speech if ``first`` is given."""
    return ScriptedResponse((first, *calls) if first else calls)


def echo(turn: ToAnswer) -> ScriptedResponse:
    """Repeat the caller's own words, or 20 ms of silence if there are none."""
    return say(turn.heard or bytes([SILENCE]) * 160, "[the caller's own words]")


# Responses that are no answers.


def failed(code: str = "server_error", message: str = "The server had an error.") -> ScriptedResponse:
    """Return a response that says nothing and ends ``failed``: ``insufficient_quota``, ``rate_limit_exceeded``, ..."""
    return ScriptedResponse(status="failed", error={"type": code, "code": code, "message": message})


def limited(seconds: float = 1.5) -> ScriptedResponse:
    """Return a response that fails because the account's rate limit is reached, and says when to try again."""
    message = (
        "Rate limit reached for gpt-realtime in organization org-1 on tokens per min (TPM): Limit 40000, Used 39990, "
        f"Requested 1000. Please try again in {seconds:g}s. Visit https://platform.openai.com/account/rate-limits to "
        "learn more."
    )
    return ScriptedResponse(
        status="failed", error={"type": "tokens", "code": "rate_limit_exceeded", "message": message}
    )


def empty() -> ScriptedResponse:
    """Return a response that is completed, and has no output at all."""
    return ScriptedResponse()


def incomplete(*outputs: Speech | ScriptedToolCall, reason: str = "content_filter") -> ScriptedResponse:
    """Return a response that ends ``incomplete``: before it has any output, or in the middle of the last one given.
    ``reason``: ``content_filter`` or ``max_output_tokens``."""
    return ScriptedResponse(outputs, "incomplete", reason)


def unspoken(reason: str = "turn_detected") -> ScriptedResponse:
    """Return a response that the server cancels before it has any output, though nobody speaks."""
    return ScriptedResponse(status="cancelled", reason=reason)


# Responses of unusual shapes.


def muted(transcript: str = "Hello.") -> ScriptedResponse:
    """Return a response with a message that has a transcript, but no audio."""
    return ScriptedResponse((Speech(b"", transcript),))


def interleaved(*outputs: Speech | ScriptedToolCall) -> ScriptedResponse:
    """Return a response whose outputs are sent at the same time, a piece of each in turn."""
    return ScriptedResponse(outputs, interleaved=True)


@dataclass(frozen=True, slots=True)
class Script:
    """What the model says: ``answers`` to each session's turns in order, then ``after`` for the rest.

    For huge deltas, give a `SpeechPace` a huge ``delta_ms``; for a model that speaks slowly, a small ``times``.
    """

    answers: Sequence[ScriptedResponse | Answerer] = ()
    after: Answerer = echo
    # of each utterance, or a function of its µ-law audio, which returns None for a transcription that fails
    transcript: str | Callable[[bytes], str | None] = "What the caller said."
    pace: SpeechPace = field(default_factory=SpeechPace)

    def answer(self, turn: ToAnswer) -> ScriptedResponse:
        """Return the answer to this turn."""
        answer = self.answers[turn.number] if turn.number < len(self.answers) else self.after
        return answer if isinstance(answer, ScriptedResponse) else answer(turn)

    def transcribe(self, audio: bytes) -> str | None:
        """Return an utterance's transcript."""
        return self.transcript if isinstance(self.transcript, str) else self.transcript(audio)
