"""The caller's audio in pieces of 20 ms, and how a session finds the words in it."""

from __future__ import annotations

import base64
from typing import Final

from .truth import CallerTurn

FRAME: Final = 0.02  # seconds
HOUR: Final = 51 * 60.0  # seconds of silence, after which a session is replaced in a pause
HOURS_FRAME: Final = 1.0  # seconds between the pieces of it that are sent, as nothing else happens
WORDS_AFTER: Final = 3  # frames of speech, a session has heard the caller begin
SILENT_AFTER: Final = 25  # frames without any, it has heard them fall silent

SILENCE: Final = 0  # any other number is an utterance's
_SOFT: Final = b"\xdf"
_LOUD: Final = b"\x10"


def _frame(level: bytes, number: int) -> bytes:
    """Return a frame whose last bytes say which utterance it is of, at a place where nothing looks for loudness."""
    audio = bytearray(level * 159)
    audio[1], audio[2] = divmod(number, 256)
    return base64.b64encode(bytes(audio))


class Sounds:
    """All sounds of one call."""

    def __init__(self) -> None:
        self.silence = base64.b64encode(b"\xfe" * 160)
        self.noise = base64.b64encode(b"\x11" * 160)
        self._numbers: dict[str | bytes, int] = {self.silence: SILENCE, self.noise: SILENCE}

    def words(self, number: int, *, are_loud: bool) -> bytes:
        """Return a piece of this utterance."""
        audio = _frame(_LOUD if are_loud else _SOFT, number)
        self._numbers[audio] = self._numbers[audio.decode()] = number
        return audio

    def number(self, audio: str | bytes) -> int:
        """Return which utterance a piece of audio is of."""
        return self._numbers.get(audio, SILENCE)


class Ear:
    """Finds the caller's turns in one session's audio, as the API's voice detection does."""

    def __init__(self) -> None:
        self.turn: CallerTurn | None = None  # which the caller has begun, and not ended
        self.frames: dict[int, int] = {}  # that were heard of each utterance
        self._run = 0
        self._quiet = 0

    def hears(self, number: int, now: float) -> CallerTurn | None:
        """A piece of audio arrived. Return the turn that it begins, or ends."""
        turn = self.turn
        if number == SILENCE:
            self._run = 0
            if turn is None:
                return None
            self._quiet += 1
            if self._quiet < SILENT_AFTER:
                return None
            turn.ended_at, self.turn = now, None
            return turn
        self._run += 1
        self._quiet = 0
        self.frames[number] = self.frames.get(number, 0) + 1
        if turn is None:
            if self._run < WORDS_AFTER:
                return None
            turn = self.turn = CallerTurn(now)
            turn.words[number] = self._run
            return turn
        turn.words[number] = turn.words.get(number, 0) + 1
        return None
