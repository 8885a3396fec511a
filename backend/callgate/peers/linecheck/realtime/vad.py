"""Voice activity detection on µ-law bytes. Pure, and cheap: one table look-up per byte, no decoding.

The level of a frame is the mean of its bytes' magnitude codes (0 to 127), which roughly follows the logarithm of the
amplitude.

A frame is speech if its level is a margin above the noise floor. The floor is learnt a second at a time, in two ways:
what keeps the same level for three seconds is background, because speech rises and falls; and what is quietest in ten
seconds is background, because speech pauses. So lasting noise becomes the floor, and speech over it is detected.
"""

from __future__ import annotations

import math
from collections import deque

from callgate.core.wire.media_stream import FRAME_BYTES, SAMPLE_RATE

_WINDOW_FRAMES = SAMPLE_RATE // FRAME_BYTES  # one second
_WINDOWS = 10
_STEADY_WINDOWS = 3
_STEADY_STEPS = 10  # about 4 dB between the loudest and the quietest frame
_MARGIN_DB = 24.0  # above the floor, at threshold 1; 12 dB at OpenAI's default of 0.5
_QUIETEST_FLOOR_DBFS = -60.0
# Words end more softly than they begin: once speech has begun, this share of the margin suffices.
_HOLD = 0.5

# The magnitude is the lower seven bits, sent inverted (ITU-T G.711).
_MAGNITUDE = bytes(0x7F - (code & 0x7F) for code in range(256))
_FULL_SCALE = 8031
_BIAS = 33


def level(frame: bytes) -> float:
    """Return the mean magnitude code of a frame: 0 (silence) to 127 (full scale)."""
    return sum(frame.translate(_MAGNITUDE)) / len(frame)


def code_at(dbfs: float) -> float:
    """Return the magnitude code of an amplitude in dB relative to full scale. G.711: 16 steps per octave, bias 33."""
    return 16 * math.log2(1 + _FULL_SCALE * 10 ** (dbfs / 20) / _BIAS)


def dbfs_at(code: float) -> float:
    """Return the amplitude of a magnitude code, in dB relative to full scale; minus infinity for silence."""
    amplitude = (2 ** (code / 16) - 1) * _BIAS / _FULL_SCALE
    return 20 * math.log10(amplitude) if amplitude else -math.inf


class SpeechDetector:
    """Decides for each 20 ms frame, in order, whether it is speech. ``threshold`` is server VAD's, 0 to 1."""

    def __init__(self, threshold: float) -> None:
        self._margin_db = threshold * _MARGIN_DB
        # The levels in the current second; the lowest and the highest level in each of the last seconds.
        self._window: list[float] = []
        self._windows: deque[tuple[float, float]] = deque(maxlen=_WINDOWS)
        self._set_floor(0.0)

    def hear(self, frame: bytes, *, speaking: bool) -> bool:
        """Whether the next frame is speech. ``speaking``: an utterance has already begun."""
        now = level(frame)
        self._learn(now)
        return now >= (self._keeps if speaking else self._begins)

    def _set_floor(self, code: float) -> None:
        self._floor = code
        floor_db = max(dbfs_at(code), _QUIETEST_FLOOR_DBFS)
        # The levels at which speech begins, and at which it continues.
        self._begins = code_at(floor_db + self._margin_db)
        self._keeps = code_at(floor_db + self._margin_db * _HOLD)

    def _learn(self, now: float) -> None:
        self._window.append(now)
        if len(self._window) < _WINDOW_FRAMES:
            return
        self._windows.append((min(self._window), max(self._window)))
        self._window.clear()
        recent = list(self._windows)[-_STEADY_WINDOWS:]
        quietest = min(low for low, _ in recent)
        if len(recent) == _STEADY_WINDOWS and max(high for _, high in recent) - quietest < _STEADY_STEPS:
            self._set_floor(quietest)
        elif len(self._windows) == _WINDOWS:
            self._set_floor(min(low for low, _ in self._windows))
        else:
            self._set_floor(min(self._floor, quietest))
