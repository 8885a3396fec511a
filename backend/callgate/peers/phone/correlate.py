"""Measures whether a caller heard its own words, and nobody else's. Pure, with numpy.

There are two measures, both from 0 to 1, on decoded µ-law (lags by FFT, so that every position is tried):

*Own words*: the highest normalised cross-correlation of the whole utterance with any equally long stretch of what was
heard. 1 is a perfect copy at any loudness; noise or other words stay far below 0.95.

*Another's words*: the same recording at 0.98 times the speed resembles itself, so plain correlation can't distinguish
another caller's voice from the caller's own. Therefore the caller's own words are first removed from what was heard (at
their best position, in 20 ms blocks with the best-fitting gain, so that an interrupted reply is removed as far as it
was heard). The other's words are looked for in the rest, on a scale where 1 means that all of them are there, at least
as loud as they were said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from callgate.core.wire.media_stream import FRAME_BYTES

Signal = npt.NDArray[np.floating[Any]]

OWN_WORDS: Final = 0.95  # at least this is expected
ANOTHERS_WORDS: Final = 0.5  # less than this is expected
_FAINT: Final = 1e-4  # of the words' energy (-40 dB): anything fainter is not compared
_MOST_GAIN: Final = 2.0


@dataclass(frozen=True, slots=True)
class Match:
    """Where words were found. ``at`` is a position in what was heard, in samples, and may be negative."""

    correlation: float
    at: int


def find(words: Signal, heard: Signal) -> Match:
    """Find the stretch of ``heard`` that is most similar to ``words``."""
    if not len(words) or not _energy(words):
        return Match(0.0, 0)
    products, loudness = _slide(words, heard)
    scale = np.sqrt(_energy(words) * np.maximum(loudness, _FAINT * _energy(words)))
    best = int(np.argmax(products / scale))
    return Match(float(products[best] / scale[best]), best - len(words))


def take_out(words: Signal, heard: Signal, at: int) -> Signal:
    """Return ``heard`` without the ``words`` that begin at sample ``at``."""
    rest = heard.copy()
    for start in range(max(0, -at), len(words), FRAME_BYTES):
        block = words[start : start + FRAME_BYTES]
        target = rest[at + start : at + start + len(block)]
        block = block[: len(target)]
        energy = _energy(block)
        if energy:
            target -= np.clip(np.dot(target, block) / energy, 0.0, _MOST_GAIN) * block
    return rest


def trace_of(words: Signal, rest: Signal) -> float:
    """Return how much of ``words`` is in ``rest``: 1 means all of them, as loud as they were said."""
    energy = _energy(words)
    if not energy or not len(rest):
        return 0.0
    most = float(np.sqrt(_energy(rest) / energy))
    if most < 0.01:  # so faint that this upper bound will do
        return most
    products, loudness = _slide(words, rest)
    return float(np.max(np.abs(products) / np.sqrt(energy * np.maximum(loudness, energy))))


@dataclass(frozen=True, slots=True)
class Voice:
    """One caller's utterances, and what was heard from the beginning of each on."""

    words: tuple[Signal, ...]
    heard: tuple[Signal, ...]


def own_words(voice: Voice) -> tuple[Match, ...]:
    """Find each of a caller's utterances in what it heard from then on."""
    return tuple(find(words, heard) for words, heard in zip(voice.words, voice.heard, strict=True))


def anothers_words(voices: Sequence[Voice]) -> tuple[float, ...]:
    """Return, for each caller, the strongest trace of any other caller's words in what it heard."""
    return tuple(
        max((trace_of(words, rest) for j, other in enumerate(voices) if j != i for words in other.words), default=0.0)
        for i, rest in enumerate(map(_rest_of, voices))
    )


def _rest_of(voice: Voice) -> Signal:
    """Return what a caller heard from its first utterance on, without its own words."""
    if not voice.heard:
        return np.zeros(0, np.float32)
    rest = voice.heard[0]
    for words, heard in zip(voice.words, voice.heard, strict=True):
        rest = take_out(words, rest, find(words, heard).at + len(rest) - len(heard))
    return rest


def _slide(words: Signal, heard: Signal) -> tuple[Signal, Signal]:
    """Return, for each lag from ``-len(words)`` on, the product with ``words`` and the energy of that stretch."""
    span = len(words)
    padded = np.concatenate([np.zeros(span), heard.astype(np.float64), np.zeros(span)])
    size = 1 << (len(padded) - 1).bit_length()
    spectrum = np.fft.rfft(padded, size) * np.conj(np.fft.rfft(words.astype(np.float64), size))
    products = np.fft.irfft(spectrum, size)[: len(padded) - span]
    passed = np.concatenate([[0.0], np.cumsum(padded**2)])
    return products, np.maximum(passed[span:-1] - passed[: -span - 1], 0.0)


def _energy(signal: Signal) -> float:
    return float(np.dot(signal.astype(np.float64), signal.astype(np.float64)))
