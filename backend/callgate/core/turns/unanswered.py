"""What the caller said that no model has begun to answer yet, and the latest of their audio. Pure.

A model that is lost takes with it what it had heard. The audio kept here is handed to the next model, which then hears
that speech again. The API reports the progress of speech in three steps: it starts, it is committed (as an item of the
conversation), a response begins.
"""

from __future__ import annotations

from typing import Final

KEPT_FRAMES: Final = 250  # media messages kept while there is no model: 5 s
LEAD_IN_FRAMES: Final = 25  # always kept, so that the beginning of a word is included
TOGETHER: Final = 10  # frames dropped at a time


class Unanswered:
    """One call's unanswered speech. Audio is base64 µ-law."""

    def __init__(self) -> None:
        self.spoken = False  # the model heard speech start, and has not begun to answer it
        self.committed = False
        self.repeated = False  # what the model hears now was said before, to another model
        self._audio: list[bytes] = []
        self._first = 0  # index of the first piece that is kept

    def keep(self, audio: bytes, *, whole: bool) -> None:
        """A piece of the caller's audio arrived. ``whole``: keep the longer stretch, because no model has the audio
        before it, or there is speech in it that waits for an answer."""
        self._audio.append(audio)
        self._forget_but(KEPT_FRAMES if whole else LEAD_IN_FRAMES)

    def answered(self) -> None:
        """A model answers it, or found no speech in it."""
        self.spoken = self.committed = self.repeated = False
        self._forget_but(0)

    def hand_over(self, holds_words: bool) -> list[bytes]:
        """Return the audio for a new model. It is kept for yet another one if it ``holds_words``."""
        audio = self._audio[self._first :]
        self.repeated = holds_words
        if not holds_words:
            self._forget_but(0)
        return audio

    def _forget_but(self, frames: int) -> None:
        self._first = max(self._first, len(self._audio) - frames)
        if self._first >= TOGETHER:
            del self._audio[: self._first]
            self._first = 0
