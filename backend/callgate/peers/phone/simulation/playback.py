"""Twilio's playback buffer for one stream. Pure: the caller of `Playback.tick` is its clock.

Audio plays in the order it was queued. A mark comes back when everything queued before it has been played, at once
where nothing is waiting, and also when ``clear`` empties the buffer (all pending marks together).
Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from callgate.core.wire.media_stream import FRAME_BYTES, PLAYBACK_LIMIT_BYTES, SILENCE
from callgate.errors import MediaStreamError

MARK_LIMIT = 10_000  # pending marks; Twilio names no number, but a queue has a bound
BUFFER_OVERFLOW = 31931


@dataclass(frozen=True, slots=True)
class PlayedFrame:
    """What one tick gave: ``audio`` is always 160 µ-law bytes, the first ``played`` of them from the buffer."""

    audio: bytes
    played: int
    marks: tuple[str, ...]


class Playback:
    """The audio that waits to be played, and the marks between it."""

    def __init__(self) -> None:
        self.queued = 0  # bytes ever taken in
        self.played = 0  # bytes that left by `tick`
        self.discarded = 0  # bytes that left by `clear`
        self._audio = bytearray()
        self._marks: deque[tuple[int, str]] = deque()  # position in the queue, name

    @property
    def buffered(self) -> int:
        """Bytes that wait."""
        return len(self._audio)

    @property
    def position(self) -> int:
        """How far into all that was ever queued the playing is, in bytes; what was cleared counts as passed."""
        return self.played + self.discarded

    def media(self, audio: bytes) -> int:
        """Queue µ-law audio. Returns how many bytes did not fit and are lost (Twilio error 31931)."""
        taken = audio[: max(0, PLAYBACK_LIMIT_BYTES - len(self._audio))]
        self._audio += taken
        self.queued += len(taken)
        return len(audio) - len(taken)

    def mark(self, name: str) -> tuple[str, ...]:
        """Queue a mark. Returns the marks that come back now. Raises `MediaStreamError` where too many wait."""
        if len(self._marks) >= MARK_LIMIT:
            raise MediaStreamError(BUFFER_OVERFLOW, f"more than {MARK_LIMIT} marks are pending")
        self._marks.append((self.queued, name))
        return self._passed()

    def clear(self) -> tuple[str, ...]:
        """Throw away what waits. Returns the marks that come back: all of them."""
        self.discarded += len(self._audio)
        self._audio.clear()
        return self._passed()

    def tick(self) -> PlayedFrame:
        """Play 20 ms: from the buffer, and silence where it has run out."""
        audio = bytes(self._audio[:FRAME_BYTES])
        del self._audio[:FRAME_BYTES]
        self.played += len(audio)
        return PlayedFrame(audio.ljust(FRAME_BYTES, bytes([SILENCE])), len(audio), self._passed())

    def _passed(self) -> tuple[str, ...]:
        names = []
        while self._marks and self._marks[0][0] <= self.position:
            names.append(self._marks.popleft()[1])
        return tuple(names)
