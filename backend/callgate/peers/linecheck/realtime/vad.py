"""Which frames are speech, told from µ-law bytes. Pure, and cheap: one table look-up a byte, no decoding.

The level of a frame is the mean of its bytes' magnitude codes (0 to 127), which near enough follows the logarithm of
the amplitude.

A frame is speech when it stands a margin above the noise floor. The floor is learnt a second at a time, in two ways:
what keeps one level for three seconds is background, for speech rises and falls; and what is quietest in ten seconds is
background, for speech pauses. So noise that lasts becomes the floor, and talk over it is heard.
"""

from __future__ import annotations

import math
from collections import deque

from callgate.core.wire.media_stream import FRAME_BYTES, SAMPLE_RATE

_WINDOW_FRAMES = SAMPLE_RATE // FRAME_BYTES  # one second
_WINDOWS = 10
_STEADY_WINDOWS = 3
_STEADY_STEPS = 10  # about 4 dB between the loudest and the quietest frame
_MARGIN_DB = 24.0  # above the floor, at threshold 1; so 12 dB at the service's default of 0.5
_QUIETEST_FLOOR_DBFS = -60.0
# Words end softer than they begin: once speech runs, this share of the margin keeps it running.
_HOLD = 0.5

# The magnitude is the lower seven bits, sent inverted (ITU-T G.711).
_MAGNITUDE = bytes(0x7F - (code & 0x7F) for code in range(256))
_FULL_SCALE = 8031
_BIAS = 33


def level(frame: bytes) -> float:
    """The mean magnitude code of a frame: 0 (silence) to 127 (full scale)."""
    return sum(frame.translate(_MAGNITUDE)) / len(frame)


def code_at(dbfs: float) -> float:
    """The magnitude code of an amplitude in dB relative to full scale. G.711: 16 steps an octave, biased by 33."""
    return 16 * math.log2(1 + _FULL_SCALE * 10 ** (dbfs / 20) / _BIAS)


def dbfs_at(code: float) -> float:
    """The amplitude of a magnitude code, in dB relative to full scale; minus infinity for silence."""
    amplitude = (2 ** (code / 16) - 1) * _BIAS / _FULL_SCALE
    return 20 * math.log10(amplitude) if amplitude else -math.inf


class SpeechDetector:
    """Fed frames of 20 ms in order, it says of each whether it is speech. ``threshold`` is server VAD's, 0 to 1."""

    def __init__(self, threshold: float) -> None:
        self._margin_db = threshold * _MARGIN_DB
        # The levels of the second that runs; the quietest and the loudest of each of the last seconds.
        self._window: list[float] = []
        self._windows: deque[tuple[float, float]] = deque(maxlen=_WINDOWS)
        self._set_floor(0.0)

    def hear(self, frame: bytes, *, speaking: bool) -> bool:
        """Whether this next frame is speech; ``speaking`` when an utterance is already running."""
        now = level(frame)
        self._learn(now)
        return now >= (self._keeps if speaking else self._begins)

    def _set_floor(self, code: float) -> None:
        self._floor = code
        floor_db = max(dbfs_at(code), _QUIETEST_FLOOR_DBFS)
        # The levels that begin speech, and that keep it running.
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
