"""The report of a call: values, and their JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from callgate.core.wire.media_stream import SAMPLE_RATE

from .timeline import Event


@dataclass(frozen=True, slots=True)
class CallError:
    """An error that Twilio would have logged for the account. ``code`` is 0 if Twilio has none for it."""

    code: int
    reason: str
    at: float  # seconds since the call began


@dataclass(frozen=True, slots=True)
class Promise:
    """Something that the call should keep. The sentences have no full stop at the end."""

    what: str
    kept: bool
    happened: str = ""
    advice: str = ""

    def as_line(self) -> str:
        """Return what was promised, what happened, and what to do, in one line."""
        return f"{self.what}: kept" if self.kept else f"{self.what}: NOT kept: {self.happened}. {self.advice}".strip()


@dataclass(frozen=True, slots=True)
class StreamClose:
    """How a stream's socket ended. ``by``: ``caller``, ``app``, or ``nobody`` if it was lost."""

    by: str
    code: int | None  # of the close frame (RFC 6455)
    reason: str
    at: float  # seconds since the call began
    stream_sid: str


@dataclass(frozen=True, slots=True)
class Spoken:
    """An utterance of the caller. Times are in seconds since the call began."""

    name: str
    audio: bytes = field(repr=False)  # µ-law
    began: float
    speech_ended: float | None  # before the silence at the recording's end
    at_byte: int  # where it is in ``said``
    latency: float | None  # from the end of the speech to the first sound of the reply, in seconds
    interrupts: bool  # it was said over the agent
    cleared_after: float | None  # when the app sent clear, in seconds after the interruption began
    spoken_over: bool  # the caller interrupted the reply to it


@dataclass(frozen=True, slots=True)
class CallReport:
    """All that is known about a finished call, as one flat value like its JSON."""

    call_sid: str
    ended: str  # why it ended, as half a sentence
    seconds: float
    events: tuple[Event, ...] = field(repr=False)
    promises: tuple[Promise, ...]
    errors: tuple[CallError, ...]
    twiml_documents: tuple[str, ...] = field(repr=False)  # unchanged, so they contain tokens
    verbs: tuple[str, ...]  # executed, in order
    stream_sids: tuple[str, ...]
    closes: tuple[StreamClose, ...]
    said: bytes = field(repr=False)  # the caller's side, µ-law
    heard: bytes = field(repr=False)  # the agent's side, sample-aligned with ``said``
    audio_began: float  # when both begin, in seconds since the call began
    utterances: tuple[Spoken, ...]
    first_audio: float | None  # seconds after the first stream's start
    marks: int
    clears: int
    dialled: tuple[str, ...] = field(default=(), repr=False)  # the numbers that <Dial> rang, in order
    digits: tuple[str, ...] = field(default=(), repr=False)  # the keys that <Play> sent into the line

    @property
    def kept(self) -> bool:
        """Whether all promises were kept."""
        return all(promise.kept for promise in self.promises)

    @property
    def codes(self) -> tuple[int, ...]:
        """Twilio's error codes, in order."""
        return tuple(error.code for error in self.errors)

    def as_json(self) -> dict[str, Any]:
        """Return the report for machines. It contains no tokens, numbers or audio."""
        return {
            "call_sid": self.call_sid,
            "kept": self.kept,
            "ended": self.ended,
            "seconds": round(self.seconds, 3),
            "audio_began": round(self.audio_began, 4),
            "first_audio": _rounded(self.first_audio),
            "verbs": list(self.verbs),
            "stream_sids": list(self.stream_sids),
            "marks": self.marks,
            "clears": self.clears,
            "utterances": [_utterance_json(utterance) for utterance in self.utterances],
            "closes": [
                {"by": close.by, "code": close.code, "reason": close.reason, "at": round(close.at, 4)}
                for close in self.closes
            ],
            "errors": [{"code": e.code, "reason": e.reason, "at": round(e.at, 4)} for e in self.errors],
            "promises": [promise_json(promise) for promise in self.promises],
            "events": [event.as_json() for event in self.events],
        }


def promise_json(promise: Promise) -> dict[str, Any]:
    """Return a promise for machines."""
    return {
        "promise": promise.what,
        "kept": promise.kept,
        "happened": promise.happened,
        "advice": promise.advice,
    }


def broken(promises: Sequence[Promise]) -> list[Promise]:
    """Return the promises that were not kept."""
    return [promise for promise in promises if not promise.kept]


def _utterance_json(utterance: Spoken) -> dict[str, Any]:
    return {
        "name": utterance.name,
        "began": round(utterance.began, 4),
        "speech_ended": _rounded(utterance.speech_ended),
        "seconds": len(utterance.audio) / SAMPLE_RATE,
        "latency": _rounded(utterance.latency),
        "interrupts": utterance.interrupts,
        "cleared_after": _rounded(utterance.cleared_after),
        "spoken_over": utterance.spoken_over,
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
