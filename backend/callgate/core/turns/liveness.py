"""How long the model may be silent, and whether a silent model is still alive. Pure; times are seconds on one clock.

A model that hangs looks like one that thinks. A liveness check tells them apart, as a live model answers it at once: a
``session.update`` that changes nothing. It is sent when the model owes the caller something, or should have heard the
caller, and has been silent for `ASK_AFTER`.
"""

from __future__ import annotations

from callgate.core.units import SECONDS

ASK_AFTER = 0.6 * SECONDS  # of silence on the model's side
ANSWER_WITHIN = 0.5 * SECONDS
WORDS_WITHIN = 8 * SECONDS  # for a live model that owes the caller something; after that it is given up
PAUSE = 0.5 * SECONDS  # in which neither side speaks
FRAMES_OF_SPEECH = 15  # 20 ms each; anything shorter may be a cough, or a door


class Patience:
    """What is known about the model's silence, and about speech of the caller that it may not have noticed."""

    def __init__(self, now: float) -> None:
        self.owes = False  # the model is to say something, or is saying it
        self.caller_speaks = False  # according to the model: speech began, and has not ended
        self.last_loud = now  # when the caller was last loud
        self._loud_frames = 0  # which the model has not noticed, as far as we know
        self._last_event = now
        self._last_word = now  # the model's last event that was more than an answer to a liveness check
        self._asked: float | None = None  # when the pending check was sent

    def caller_heard(self, is_loud: bool, now: float) -> None:
        """20 ms of the caller's audio arrived."""
        if is_loud:
            self._loud_frames += 1
            self.last_loud = now

    def model_heard(self, now: float) -> bool:
        """The model sent an event. Return whether a liveness check was pending, which this answers."""
        was_asked, self._asked = self._asked is not None, None
        self._last_event = now
        if was_asked:
            self._loud_frames = 0  # it is alive, and does not take that for speech
        else:
            self._last_word = now
        return was_asked

    def noticed(self) -> None:
        """The model has heard the caller speak."""
        self.caller_speaks = True
        self._loud_frames = 0

    def replaced(self, now: float) -> None:
        """Another model took over: a check of the previous one is not pending any more."""
        self._asked = None
        self._last_word = self._last_event = now

    def owes_from(self, now: float) -> None:
        """From now on the model is to say something."""
        self.owes = True
        self._last_word = self._last_event = now

    def asked(self, now: float) -> None:
        """A liveness check was sent to the model."""
        self._asked = now

    @property
    def unheard(self) -> bool:
        """Whether the caller has said something that the model shows no sign of having heard."""
        return self._loud_frames >= FRAMES_OF_SPEECH

    def ask_at(self) -> float | None:
        """When to send a liveness check; None: there is no need for one."""
        if self._asked is not None or not (self.owes or self.unheard or self.caller_speaks):
            return None
        quiet = self._last_event if self.owes else max(self._last_event, self.last_loud)
        return quiet + ASK_AFTER

    def gone_at(self) -> float | None:
        """When to give the model up; None: there is no deadline."""
        if self._asked is not None:
            return self._asked + ANSWER_WITHIN
        return self._last_word + WORDS_WITHIN if self.owes else None
