"""What the caller said that no model has begun to answer yet, and the latest of their audio. Pure.

A model that is lost takes with it what it had heard. The audio kept here is handed to the next one, which hears those
words again. How a model comes to know of words, the API says in three steps: it heard them begin, they are committed
(an item of its conversation), a response begins.
"""

from __future__ import annotations

from typing import Final

KEPT_FRAMES: Final = 250  # media messages that are kept for a model that is not there: 5 s
LEAD_IN_FRAMES: Final = 25  # that are kept all the time, so that a word's beginning is among them
TOGETHER: Final = 10  # frames that are forgotten at a time


class Unanswered:
    """One call's. Audio is µ-law, in base64."""

    def __init__(self) -> None:
        self.spoken = False  # the model heard them begin, and has not begun to answer
        self.committed = False
        self.repeated = False  # what the model hears now was said before, to another
        self._audio: list[bytes] = []
        self._first = 0  # of it that is kept

    def keep(self, audio: bytes, *, whole: bool) -> None:
        """A piece of the caller's audio came. ``whole``: no model has what came before, or it holds words that wait for
        an answer."""
        self._audio.append(audio)
        self._forget_but(KEPT_FRAMES if whole else LEAD_IN_FRAMES)

    def answered(self) -> None:
        """A model answers it; or found nothing in it."""
        self.spoken = self.committed = self.repeated = False
        self._forget_but(0)

    def hand_over(self, holds_words: bool) -> list[bytes]:
        """The audio for a new model. It is kept for yet another where it ``holds_words``."""
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
