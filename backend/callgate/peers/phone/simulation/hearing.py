"""What the caller hears of the agent: whether it speaks, since when, and whether it has finished. Pure; time is passed
in.

The agent speaks while audio from its stream is being played. Not all of that can be *heard*: a model's reply begins and
ends with a little silence, and only audible sound counts as a greeting or a reply.
"""

from __future__ import annotations

from typing import Final

from callgate.core.wire.media_stream import FRAME_BYTES

from .playback import Playback, PlayedFrame

# The µ-law bytes of the lowest of eight loudness steps: below -48 dB of full scale.
_SILENT: Final = bytes(byte for byte in range(256) if byte & 0x70 == 0x70)


_ENOUGH: Final = 32  # bytes that are found in a clip only if they are from it


def is_audible(audio: bytes) -> bool:
    """Whether any sample is louder than -48 dB of full scale."""
    return bool(audio.translate(None, _SILENT))


def speech_bytes(audio: bytes) -> int:
    """Return the length of a recording without the silence at its end, in bytes (whole frames)."""
    for start in range(len(audio) // FRAME_BYTES * FRAME_BYTES, -1, -FRAME_BYTES):
        if is_audible(audio[start : start + FRAME_BYTES]):
            return min(start + FRAME_BYTES, len(audio))
    return len(audio)


class Ear:
    """The caller's ear, which hears the agent. Times are in seconds on the same clock.

    ``wait_clip``: what the app plays to ask the caller to wait, µ-law. It is neither a greeting nor a reply, and nobody
    interrupts it.
    """

    def __init__(self, quiet_seconds: float, wait_clip: bytes = b"") -> None:
        self.quiet_seconds = quiet_seconds
        self._wait_clip = wait_clip
        self.playing = False  # in the current frame
        self.audible = False  # in the current frame
        self.position = 0  # see Playback.position
        self.queued = 0  # see Playback.queued
        self.turn_began: float | None = None  # when the agent last began to speak after being quiet
        self.last_played: float | None = None
        self.first_heard: float | None = None

    def listen(self, now: float, frame: PlayedFrame, playback: Playback) -> None:
        """Take in what was played in this tick."""
        self.playing = frame.played > 0
        self.audible = self.playing and is_audible(frame.audio)
        self.position = playback.position
        self.queued = playback.queued
        is_asked_to_wait = self.audible and frame.played >= _ENOUGH and frame.audio[: frame.played] in self._wait_clip
        if self.playing:
            if is_asked_to_wait:
                self.audible, self.turn_began = False, None
            elif self.is_quiet(now) or self.turn_began is None:
                self.turn_began = now
            self.last_played = now
        if self.audible and self.first_heard is None:
            self.first_heard = now

    def is_quiet(self, now: float) -> bool:
        """Whether nothing has been played for ``quiet_seconds`` (a pause within speech is shorter)."""
        return self.last_played is None or now - self.last_played >= self.quiet_seconds

    def spoken_for(self, now: float) -> float:
        """Return how long the agent has been speaking, in seconds; 0 if it is not speaking."""
        return now - self.turn_began if self.playing and self.turn_began is not None else 0.0
