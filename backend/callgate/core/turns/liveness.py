"""How long silence may last, and whether the model that keeps it still lives. Pure; times are seconds of one clock.

A model that has hung looks like one that thinks. What tells them apart is a question that a living one answers at
once: a ``session.update`` that changes nothing. It is asked when the model owes the caller something, or should have
heard the caller, and has been silent for `ASK_AFTER`.
"""

from __future__ import annotations

from callgate.core.units import SECONDS

ASK_AFTER = 0.6 * SECONDS  # of silence on the model's side
ANSWER_WITHIN = 0.5 * SECONDS
WORDS_WITHIN = 8 * SECONDS  # of a living model's that owes some; beyond it is as good as gone
PAUSE = 0.5 * SECONDS  # in which neither speaks
FRAMES_OF_SPEECH = 15  # of 20 ms: what is shorter may be a cough, or a door


class Patience:
    """What is known of the model's silence, and of the caller's words that it may not have noticed."""

    def __init__(self, now: float) -> None:
        self.owes = False  # the model is to say something, or is saying it
        self.caller_speaks = False  # as the model said: speech began, and has not ended
        self.last_loud = now  # when the caller was last loud
        self._loud_frames = 0  # which the model has not noticed, as far as is known
        self._last_event = now
        self._last_word = now  # the model's last event that was more than an answer to our question
        self._asked: float | None = None  # when

    def caller_heard(self, is_loud: bool, now: float) -> None:
        """20 ms of the caller's audio came."""
        if is_loud:
            self._loud_frames += 1
            self.last_loud = now

    def model_heard(self, now: float) -> bool:
        """The model sent an event. Returns whether a question was open, which this answers."""
        was_asked, self._asked = self._asked is not None, None
        self._last_event = now
        if was_asked:
            self._loud_frames = 0  # it lives, and does not take that for speech
        else:
            self._last_word = now
        return was_asked

    def noticed(self) -> None:
        """The model has heard the caller speak."""
        self.caller_speaks = True
        self._loud_frames = 0

    def replaced(self, now: float) -> None:
        """Another model is there: what the one before was asked is not asked of it."""
        self._asked = None
        self._last_word = self._last_event = now

    def owes_from(self, now: float) -> None:
        """From now on the model is to say something."""
        self.owes = True
        self._last_word = self._last_event = now

    def asked(self, now: float) -> None:
        """The question was put to the model."""
        self._asked = now

    @property
    def unheard(self) -> bool:
        """Whether the caller has said something that the model gave no sign of having heard."""
        return self._loud_frames >= FRAMES_OF_SPEECH

    def ask_at(self) -> float | None:
        """When to put the question; None: there is nothing to ask about."""
        if self._asked is not None or not (self.owes or self.unheard or self.caller_speaks):
            return None
        quiet = self._last_event if self.owes else max(self._last_event, self.last_loud)
        return quiet + ASK_AFTER

    def gone_at(self) -> float | None:
        """When the model is given up."""
        if self._asked is not None:
            return self._asked + ANSWER_WITHIN
        return self._last_word + WORDS_WITHIN if self.owes else None
