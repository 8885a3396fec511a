"""A short clip that tells a waiting caller that the agent will go on. Pure; times are seconds on one clock.

It is played when the silence is longer than this model's answers usually are, and never over the caller's own words.
The silence before each further one is longer.
"""

from __future__ import annotations

from callgate.core.units import SECONDS

THINKING = 2.5 * SECONDS  # of silence while a model thinks, at least
TIMES_THE_HABIT = 1.5  # or so many times as long as its slowest recent answer
LONGEST = 6 * SECONDS  # of silence before the first clip, however slow the model is
NO_MODEL = 1.9 * SECONDS  # of silence while there is no model
AGAIN = (1.0, 1.0, 2.0, 4.0, 6.0)  # the silence before each clip in a row, relative to that before the first
PAUSE = 0.5 * SECONDS  # in which neither side speaks
RECENT = 8  # answers


class Comfort:
    """Decides when one call's clips are played."""

    def __init__(self, now: float) -> None:
        self._since = now  # when the caller began to wait
        self._at_once = False
        self._in_a_row = 0  # clips since either side last spoke
        self._played = 0
        self.is_promise = False  # the caller was told to wait, and has not heard the agent since
        self._answers: list[float] = []  # how long the caller waited for each of the model's latest answers

    def waits_from(self, now: float) -> None:
        """The caller waits for the agent from now on."""
        self._since = now

    def is_due_at_once(self, now: float) -> None:
        """The model was lost, perhaps in the middle of a sentence: the next clip is due without a silence first, unless
        another model is there by then."""
        self._since, self._at_once, self._in_a_row = now, True, 0

    def spoken(self) -> None:
        """One of the two has spoken: what follows is a new silence."""
        self._in_a_row = 0

    def answered_after(self, seconds: float) -> None:
        """The model took this long to speak. Clips are measured against that."""
        self.is_promise = False
        self._answers.append(seconds)
        del self._answers[:-RECENT]

    def due_at(self, agent_until: float, caller_until: float, *, has_model: bool) -> float:
        """When the next clip is to be played. ``agent_until``: when the audio sent so far has been played.
        ``caller_until``: when the caller last spoke."""
        if self._at_once and not has_model:
            return max(agent_until, caller_until + PAUSE, self._since)
        silence = NO_MODEL
        if has_model:
            silence = max(THINKING, min(TIMES_THE_HABIT * max(self._answers, default=0.0), LONGEST))
        return max(agent_until, caller_until, self._since) + silence * AGAIN[min(self._in_a_row, len(AGAIN) - 1)]

    def played(self) -> str:
        """A clip is played. Return its name, as if it were one of the model's items."""
        self._in_a_row += 0 if self._at_once else 1
        self._at_once = False
        self.is_promise = True
        self._played += 1
        return f"one_moment_{self._played}"
