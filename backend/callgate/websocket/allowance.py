"""How much may come on one media stream: frames and bytes, in all and in one callback of the event loop.

Twilio sends a frame of audio every 20 ms, some 400 bytes each, and now and then a mark or a key. What piled up while
the network stalled comes at once. Whoever sends much more than that is not Twilio, and would take the event loop from
all other calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Pace:
    """What a peer may send: ``frames`` and ``bytes`` a second, of any opcode, whole or not, and as much at once as
    ``burst_frames`` and ``burst_bytes``."""

    frames: int
    bytes: int
    burst_frames: int
    burst_bytes: int


# Four times what Twilio sends. At once: half a minute of audio (1,500 frames) with the marks of ten minutes of the
# agent's (1,200, which Twilio returns at once after a `clear`).
TWILIOS = Pace(frames=200, bytes=100 * 1024, burst_frames=3000, burst_bytes=1536 * 1024)
UNLIMITED = Pace(frames=1 << 50, bytes=1 << 50, burst_frames=1 << 60, burst_bytes=1 << 60)

# What one callback does for one stream before all others have their turn: well under a millisecond of audio, a few
# of messages that have to be parsed.
FRAMES_AT_ONCE: Final = 32
BYTES_AT_ONCE: Final = 32 * 1024


class Allowance:
    """A token bucket for each of the two. ``now``: a clock, in seconds.

    It looks at the clock only when one has run out, and so may give a burst twice: the one that was left over, and the
    one that was earned meanwhile.
    """

    def __init__(self, pace: Pace, now: Callable[[], float]) -> None:
        self._pace = pace
        self._now = now
        self._since = now()
        self._frames = float(pace.burst_frames)
        self._bytes = float(pace.burst_bytes)
        self._given_frames = float(pace.burst_frames)  # at ``_since``
        self._given_bytes = float(pace.burst_bytes)
        self.exceeded = ""  # what came and what is allowed, once it was too much

    def spend(self, frames: int, size: int) -> bool:
        """So much has come. Returns whether it may."""
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
