"""What the caller heard, told from the recording of the call alone: which sentences, how whole, after how much silence.

Each sentence is noise that is like no other, so that sixteen of its bytes say which it is and where in it they are.
Times are seconds since the call began; audio is µ-law, 8,000 bytes a second. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from callgate.core.wire.media_stream import BYTES_PER_MS, FRAME_BYTES, FRAME_SECONDS, SAMPLE_RATE
from callgate.peers.phone.simulation.hearing import is_audible
from callgate.peers.phone.simulation.report import CallReport
from callgate.peers.phone.wav import encode

GRAM = 16  # bytes by which a place in a sentence is known
LOUDNESS = 0.25  # of full scale, RMS


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something that is said. ``leaves_turn``: behind it, the caller is expected to speak."""

    text: str
    audio: bytes
    leaves_turn: bool = True


def noise(seed: Sequence[int], seconds: float) -> bytes:
    """Noise, in whole frames; another seed gives another."""
    samples = round(seconds / FRAME_SECONDS) * FRAME_BYTES
    return encode((LOUDNESS * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32))


def find(audio: bytes, recording: bytes) -> tuple[int, int]:
    """Where the beginning of this audio first lies in the recording, and how many bytes from there are the same.

    The second is 0 where it is not there, or less than `GRAM` bytes of it are.
    """
    at = recording.find(audio[:GRAM])
    return (at, common_prefix(audio, recording[at:])) if at >= 0 else (0, 0)


def common_prefix(one: bytes, other: bytes) -> int:
    """How many bytes both begin with."""
    size = min(len(one), len(other))
    differ = np.frombuffer(one, np.uint8, size) != np.frombuffer(other, np.uint8, size)
    return int(differ.argmax()) if differ.any() else size


def ends_in(sentence: Sentence, recording: bytes) -> Iterator[int]:
    """Where the sentence's last byte lies in the recording, each time."""
    tail = sentence.audio[-GRAM:]
    at = recording.find(tail)
    while at >= 0:
        yield at + GRAM - 1
        at = recording.find(tail, at + GRAM)


def grams(audio: bytes) -> np.ndarray:
    """Each eight bytes of the audio, as one number."""
    if len(audio) < 8:
        return np.empty(0, np.uint64)
    return np.lib.stride_tricks.sliding_window_view(np.frombuffer(audio, np.uint8), 8).copy().view(np.uint64).ravel()


def bytes_of(audio: bytes, recording: bytes) -> int:
    """How much of this audio is anywhere in the recording, in bytes."""
    found = int(np.isin(grams(recording), grams(audio)).sum())
    return found + 7 if found else 0


# Silence.


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch in which the caller was owed something, and heard nothing."""

    began: float
    seconds: float


def silences(report: CallReport, sentences: Iterable[Sentence]) -> list[Silence]:
    """Every silence that was not the caller's to break, in order.

    The caller is owed something from the answer of the call on, after each word of their own, and in the midst of a
    sentence of the agent's; not after one that was heard to its end and leaves them the turn. A TwiML verb that is
    heard ends a silence, and so does the end of the call.
    """
    turns = {at // FRAME_BYTES for each in sentences if each.leaves_turn for at in ends_in(each, report.heard)}
    found: list[Silence] = []
    since, owed = answered(report), True
    for at, sounds, leaves_turn in _sounds(report, turns):
        if owed and at > since:
            found.append(Silence(since, at - since))
        since = max(since, at + FRAME_SECONDS)
        owed = sounds and not leaves_turn
    return found


def worst(found: Iterable[Silence]) -> float:
    """The longest of them, in seconds; 0 where there is none."""
    return max((silence.seconds for silence in found), default=0.0)


def answered(report: CallReport) -> float:
    """When the call was answered: Twilio had its TwiML."""
    return next((event.at for event in report.events if event.kind == "twiml"), 0.0)


def _sounds(report: CallReport, turns: set[int]) -> list[tuple[float, bool, bool]]:
    """When something was to be heard, the end of the call last: (time, is it more than the end, does it leave a turn).

    The caller's own words count, and never leave the turn to the caller.
    """
    heard = [
        (report.audio_began + frame * FRAME_SECONDS, True, frame in turns)
        for frame in range(len(report.heard) // FRAME_BYTES)
        if is_audible(_frame(report.heard, frame)) or is_audible(_frame(report.said, frame))
    ]
    verbs = [(event.at, True, False) for event in report.events if event.detail.get("verb") in ("Say", "Play", "Dial")]
    return [*sorted(heard + verbs), (_over(report), False, False)]


def _frame(audio: bytes, number: int) -> bytes:
    return audio[number * FRAME_BYTES : (number + 1) * FRAME_BYTES]


def _over(report: CallReport) -> float:
    """When nothing more could be heard."""
    verbs = [event.at for event in report.events if event.kind == "verb"]
    return max([*(close.at for close in report.closes), *verbs], default=report.seconds)


def at_second(report: CallReport, byte: int) -> float:
    """When this byte of the recording was played."""
    return report.audio_began + byte / SAMPLE_RATE


def milliseconds(size: int) -> float:
    """How long so many bytes last."""
    return size / BYTES_PER_MS
