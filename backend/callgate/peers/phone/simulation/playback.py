"""Twilio's playback buffer for one stream. Pure: its clock is the caller of `Playback.tick`.

Audio plays in the order in which it was queued. A mark comes back when everything queued before it has been played (at
once if nothing is queued), and also when ``clear`` empties the buffer (all pending marks together).
Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from callgate.core.wire.media_stream import FRAME_BYTES, PLAYBACK_LIMIT_BYTES, SILENCE
from callgate.errors import MediaStreamError

MARK_LIMIT = 10_000  # pending marks; Twilio documents no limit, but a queue needs one
BUFFER_OVERFLOW = 31931


@dataclass(frozen=True, slots=True)
class PlayedFrame:
    """What one tick played. ``audio`` is always 160 µ-law bytes, the first ``played`` of which are from the buffer."""

    audio: bytes
    played: int
    marks: tuple[str, ...]


class Playback:
    """The queue of audio and marks that are still to be played."""

    def __init__(self) -> None:
        self.queued = 0  # bytes ever queued
        self.played = 0  # bytes that `tick` has played
        self.discarded = 0  # bytes that `clear` has discarded
        self._audio = bytearray()
        self._marks: deque[tuple[int, str]] = deque()  # position in the queue, name

    @property
    def buffered(self) -> int:
        """How many bytes are waiting to be played."""
        return len(self._audio)

    @property
    def position(self) -> int:
        """How much of all the audio ever queued is over, in bytes; what was cleared counts as over."""
        return self.played + self.discarded

    def media(self, audio: bytes) -> int:
        """Queue µ-law audio. Returns how many bytes did not fit and are lost (Twilio error 31931)."""
        taken = audio[: max(0, PLAYBACK_LIMIT_BYTES - len(self._audio))]
        self._audio += taken
        self.queued += len(taken)
        return len(audio) - len(taken)

    def mark(self, name: str) -> tuple[str, ...]:
        """Queue a mark. Returns the marks that come back now. Raises `MediaStreamError` if too many are pending."""
        if len(self._marks) >= MARK_LIMIT:
            raise MediaStreamError(BUFFER_OVERFLOW, f"more than {MARK_LIMIT} marks are pending")
        self._marks.append((self.queued, name))
        return self._passed()

    def clear(self) -> tuple[str, ...]:
        """Discard all queued audio. Returns the marks that come back, which are all of them."""
        self.discarded += len(self._audio)
        self._audio.clear()
        return self._passed()

    def tick(self) -> PlayedFrame:
        """Play 20 ms, from the buffer as far as it goes, and then silence."""
        audio = bytes(self._audio[:FRAME_BYTES])
        del self._audio[:FRAME_BYTES]
        self.played += len(audio)
        return PlayedFrame(audio.ljust(FRAME_BYTES, bytes([SILENCE])), len(audio), self._passed())

    def _passed(self) -> tuple[str, ...]:
        names = []
        while self._marks and self._marks[0][0] <= self.position:
            names.append(self._marks.popleft()[1])
        return tuple(names)
