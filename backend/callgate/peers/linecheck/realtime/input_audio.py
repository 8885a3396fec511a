"""The input audio buffer: what the caller said, split into utterances if turn detection is on. Pure.

Positions are in bytes since the session began, as `audio_start_ms` and `audio_end_ms` are in milliseconds since then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from callgate.core.wire.media_stream import BYTES_PER_MS, FRAME_BYTES

from .schema import EventRefused
from .session import TurnDetection
from .vad import SpeechDetector

MAX_UTTERANCE_BYTES = 30_000 * BYTES_PER_MS  # so that endless noise is answered too
MAX_BUFFER_BYTES = 300_000 * BYTES_PER_MS  # without turn detection: how much a client may append before it commits
MIN_COMMIT_BYTES = 100 * BYTES_PER_MS

# Speech begins when 3 of the last 4 frames are speech: a click on the line is shorter.
_ONSET_FRAMES = 3
_ONSET_OF = 4
# How much silence is kept after the words, so that a fading last sound is not clipped.
_TAIL_BYTES = 300 * BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class SpeechBegan:
    """Speech began. ``position``: of its first byte, prefix padding included."""

    position: int

    @property
    def audio_start_ms(self) -> int:
        """The position in milliseconds."""
        return self.position // BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Speech ended. ``position``: after the silence that ended it. ``audio``: the utterance, from ``start`` on."""

    position: int
    start: int
    audio: bytes

    @property
    def audio_end_ms(self) -> int:
        """The position in milliseconds."""
        return self.position // BYTES_PER_MS

    @property
    def end(self) -> int:
        """The position after the last byte of ``audio``."""
        return self.start + len(self.audio)


class InputAudioBuffer:
    """Takes audio as it comes, and detects where utterances begin and end if turn detection is on."""

    def __init__(self, turn_detection: TurnDetection | None) -> None:
        self._buffer = bytearray()
        self._start = 0  # position of the buffer's first byte
        self._examined = 0  # position up to which the detector has examined the audio
        self._deaf_bytes = 0  # after an endless utterance: how much longer no new one can begin
        self.configure(turn_detection)

    @property
    def position(self) -> int:
        """How many bytes have been appended in the session."""
        return self._start + len(self._buffer)

    def configure(self, turn_detection: TurnDetection | None) -> None:
        """Apply turn detection settings. What the detector has learnt about the background noise is discarded."""
        self._turn_detection = turn_detection
        self._detector = SpeechDetector(turn_detection.threshold) if turn_detection else None
        self._examined = self.position
        self._reset_utterance()

    def append(self, audio: bytes) -> list[SpeechBegan | SpeechEnded]:
        """Append audio, and return what it shows. Raises `EventRefused` if a client without turn detection appends too
        much without committing it."""
        if self._turn_detection is None and len(self._buffer) + len(audio) > MAX_BUFFER_BYTES:
            message = "Input audio buffer is full: commit or clear it before appending more."
            raise EventRefused("input_audio_buffer_full", message)
        self._buffer += audio
        return list(self._examine())

    def commit(self) -> bytes:
        """Take all that is buffered. Raises `EventRefused` if that is less than 100 ms."""
        if len(self._buffer) < MIN_COMMIT_BYTES:
            message = (
                "Error committing input audio buffer: buffer too small. Expected at least 100ms of audio, "
                f"but buffer only has {len(self._buffer) / BYTES_PER_MS:.2f}ms of audio."
            )
            raise EventRefused("input_audio_buffer_commit_empty", message)
        audio = bytes(self._buffer)
        self.clear()
        return audio

    def clear(self) -> None:
        """Discard all that is buffered."""
        self._drop_before(self.position)
        self._examined = self.position
        self._reset_utterance()

    def _reset_utterance(self) -> None:
        self._speech_start: int | None = None  # position where the current utterance begins
        self._speech_end = 0  # position after its last frame of speech
        self._onset: deque[bool] = deque(maxlen=_ONSET_OF)

    def _examine(self) -> Iterator[SpeechBegan | SpeechEnded]:
        while (detector := self._detector) and self.position - self._examined >= FRAME_BYTES:
            offset = self._examined - self._start
            frame = bytes(self._buffer[offset : offset + FRAME_BYTES])
            self._examined += FRAME_BYTES
            speech = detector.hear(frame, speaking=self._speech_start is not None)
            seen = self._go_on(speech) if self._speech_start is not None else self._wait(speech)
            if seen is not None:
                yield seen

    def _wait(self, speech: bool) -> SpeechBegan | None:
        assert self._turn_detection is not None
        if self._deaf(speech):
            speech = False
        self._onset.append(speech)
        prefix = self._turn_detection.prefix_padding_ms * BYTES_PER_MS
        if not speech or sum(self._onset) < _ONSET_FRAMES:
            self._drop_before(self._examined - prefix - _ONSET_OF * FRAME_BYTES)
            return None
        first = len(self._onset) - list(self._onset).index(True)
        self._speech_start = max(self._examined - first * FRAME_BYTES - prefix, self._start)
        self._speech_end = self._examined
        return SpeechBegan(self._speech_start)

    def _deaf(self, speech: bool) -> bool:
        assert self._turn_detection is not None
        if self._deaf_bytes <= 0:
            return False
        self._deaf_bytes -= FRAME_BYTES
        if speech:
            self._speech_end = self._examined
        elif self._examined - self._speech_end >= self._turn_detection.silence_duration_ms * BYTES_PER_MS:
            self._deaf_bytes = 0
        return True

    def _go_on(self, speech: bool) -> SpeechEnded | None:
        assert self._turn_detection is not None
        assert self._speech_start is not None
        if speech:
            self._speech_end = self._examined
        endless = self._examined - self._speech_start >= MAX_UTTERANCE_BYTES
        silence = self._examined - self._speech_end
        if not endless and silence < max(self._turn_detection.silence_duration_ms * BYTES_PER_MS, FRAME_BYTES):
            return None
        start = self._speech_start
        end = min(self._speech_end + _TAIL_BYTES, self._examined)
        audio = bytes(self._buffer[start - self._start : end - self._start])
        if endless:
            # Otherwise the continuing noise would interrupt the answer to it.
            self._deaf_bytes = MAX_UTTERANCE_BYTES
        self._drop_before(end)
        self._reset_utterance()
        self._speech_end = self._examined
        return SpeechEnded(self._examined, start, audio)

    def _drop_before(self, position: int) -> None:
        surplus = position - self._start
        if surplus > 0:
            del self._buffer[:surplus]
            self._start = position
