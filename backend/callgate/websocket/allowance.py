"""Limits on what may arrive on one media stream: frames and bytes, in total and in one callback of the event loop.

Twilio sends a frame of audio every 20 ms, about 400 bytes each, and now and then a mark or a key. What piled up while
the network stalled arrives all at once. A peer that sends much more than that is not Twilio, and would starve all other
calls of the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Pace:
    """What a peer may send: ``frames`` and ``bytes`` per second, of any opcode, whole or not, and up to
    ``burst_frames`` and ``burst_bytes`` at once."""

    frames: int
    bytes: int
    burst_frames: int
    burst_bytes: int


# Four times what Twilio sends. The burst is half a minute of audio (1,500 frames) with the marks of ten minutes of the
# agent's speech (1,200, which Twilio returns at once after a `clear`).
TWILIOS = Pace(frames=200, bytes=100 * 1024, burst_frames=3000, burst_bytes=1536 * 1024)
UNLIMITED = Pace(frames=1 << 50, bytes=1 << 50, burst_frames=1 << 60, burst_bytes=1 << 60)

# What one callback handles for one stream before all others get their turn: well under a millisecond for audio, a few
# milliseconds for messages that have to be parsed.
FRAMES_AT_ONCE: Final = 32
BYTES_AT_ONCE: Final = 32 * 1024


class Allowance:
    """Two token buckets, one for frames and one for bytes. ``now``: a clock, in seconds.

    It reads the clock only when a bucket has run out, and so may allow two bursts in a row: the one that was left over,
    and the one earned meanwhile.
    """

    def __init__(self, pace: Pace, now: Callable[[], float]) -> None:
        self._pace = pace
        self._now = now
        self._since = now()
        self._frames = float(pace.burst_frames)
        self._bytes = float(pace.burst_bytes)
        self._given_frames = float(pace.burst_frames)  # as of ``_since``
        self._given_bytes = float(pace.burst_bytes)
        self.exceeded = ""  # what arrived and what is allowed, once it was too much

    def spend(self, frames: int, size: int) -> bool:
        """This many frames and bytes arrived. Return whether they are allowed."""
        self._frames -= frames
        self._bytes -= size
        return (self._frames >= 0 and self._bytes >= 0) or self._refill()

    def _refill(self) -> bool:
        pace, now = self._pace, self._now()
        seconds = now - self._since
        frames = min(self._frames + seconds * pace.frames, float(pace.burst_frames))
        size = min(self._bytes + seconds * pace.bytes, float(pace.burst_bytes))
        if frames < 0 or size < 0:
            self.exceeded = (
                f"it sent {self._given_frames - self._frames:.0f} frames and "
                f"{self._given_bytes - self._bytes:.0f} bytes within {seconds:.1f} s, where "
                f"{pace.frames} frames and {pace.bytes} bytes a second are allowed, and "
                f"{pace.burst_frames} frames and {pace.burst_bytes} bytes at once"
            )
            return False
        self._since = now
        self._frames = self._given_frames = frames
        self._bytes = self._given_bytes = size
        return True
