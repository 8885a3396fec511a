"""What the caller heard, judged from the call's recording alone: which sentences, how complete, after how much silence.

Each sentence is unique noise, so that any sixteen of its bytes tell which sentence it is and where in it they are.
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

GRAM = 16  # bytes that identify a position in a sentence
RECOGNISED = 400  # bytes by which a sentence is recognized
LOUD = 0.25  # of full scale, RMS
SOFT = 0.01  # the model hears it, but no frame of it is as loud as usual speech (`core/turns/loudness.py`)


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the call. With ``leaves_turn``, the caller is expected to speak after it. ``is_owed``: once the
    agent has said it, the caller must hear it."""

    text: str
    audio: bytes
    leaves_turn: bool = True
    is_owed: bool = True


def noise(seed: Sequence[int], seconds: float, loudness: float = LOUD) -> bytes:
    """Return noise in whole frames, different for each seed."""
    samples = round(seconds / FRAME_SECONDS) * FRAME_BYTES
    return encode((loudness * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32))


def find(audio: bytes, recording: bytes) -> tuple[int, int]:
    """Find where this audio first begins in the recording, and how many bytes match from there.

    The second value is 0 if fewer than `GRAM` bytes of it are found.
    """
    at = recording.find(audio[:GRAM])
    return (at, common_prefix(audio, recording[at:])) if at >= 0 else (0, 0)


def common_prefix(one: bytes, other: bytes) -> int:
    """Return the length of the common prefix."""
    size = min(len(one), len(other))
    differ = np.frombuffer(one, np.uint8, size) != np.frombuffer(other, np.uint8, size)
    return int(differ.argmax()) if differ.any() else size


def ends_in(sentence: Sentence, recording: bytes) -> Iterator[int]:
    """Yield each position of the sentence's last byte in the recording."""
    tail = sentence.audio[-GRAM:]
    at = recording.find(tail)
    while at >= 0:
        yield at + GRAM - 1
        at = recording.find(tail, at + GRAM)


def grams(audio: bytes) -> np.ndarray:
    """Return every run of eight bytes in the audio, each as one number."""
    if len(audio) < 8:
        return np.empty(0, np.uint64)
    return np.lib.stride_tricks.sliding_window_view(np.frombuffer(audio, np.uint8), 8).copy().view(np.uint64).ravel()


def bytes_of(audio: bytes, recording: bytes) -> int:
    """Return how many bytes of this audio occur anywhere in the recording."""
    found = int(np.isin(grams(recording), grams(audio)).sum())
    return found + 7 if found else 0


# Silence.


@dataclass(frozen=True, slots=True)
class Silence:
    """A stretch in which the caller should have heard something but heard nothing."""

    began: float
    seconds: float


def silences(report: CallReport, sentences: Iterable[Sentence]) -> list[Silence]:
    """Return every silence that the caller was not expected to break, in order.

    The caller should hear something from the moment the call is answered, after their own words, and in the middle of
    the agent's sentences, but not after a complete sentence that leaves them the turn. A silence ends with an audible
    TwiML verb or the end of the call.
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
    """Return the longest silence in seconds, or 0 if there is none."""
    return max((silence.seconds for silence in found), default=0.0)


def answered(report: CallReport) -> float:
    """Return when the call was answered, which is when Twilio got its TwiML."""
    return next((event.at for event in report.events if event.kind == "twiml"), 0.0)


def _sounds(report: CallReport, turns: set[int]) -> list[tuple[float, bool, bool]]:
    """Return the times at which sound was audible, then the end of the call: (time, whether it is sound, whether it
    leaves the caller the turn).

    The caller's own words count as sound, and never leave the caller the turn.
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
    """Return the time after which nothing more could be heard."""
    verbs = [event.at for event in report.events if event.kind == "verb"]
    return max([*(close.at for close in report.closes), *verbs], default=report.seconds)


def at_second(report: CallReport, byte: int) -> float:
    """Return when this byte of the recording was played."""
    return report.audio_began + byte / SAMPLE_RATE


def milliseconds(size: int) -> float:
    """Return the duration of ``size`` bytes."""
    return size / BYTES_PER_MS
