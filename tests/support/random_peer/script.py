"""What was planned, piece by piece as it is needed. Behind its end, everything goes well."""

from __future__ import annotations

from .agenda import Agenda
from .plan import Answer, Habits, Opening, Plan
from .truth import Trouble, Truth

LONG = 1.0  # seconds for the opening of a session; the caller has to wait for more
NEXT_TRY = 3.0  # seconds: what an answer may cost that is known to have failed, besides what the model tells us to wait
FOUND_OUT = 12.0  # seconds: the same, if that has to be found out
TOOL_TAKES = 0.3  # seconds


class Script:
    """Reads one plan. What goes wrong is noted in ``truth``."""

    def __init__(self, plan: Plan, agenda: Agenda, truth: Truth) -> None:
        self._plan = plan
        self._agenda = agenda
        self._truth = truth
        self._answers = list(plan.answers)
        self._openings = list(plan.openings)
        self._tools = list(plan.tools_take)

    def answer(self) -> Answer:
        """Return the next response of the model's."""
        return self._answers.pop(0) if self._answers else Answer()

    def habits(self, session: int) -> Habits:
        """Return how that session behaves."""
        habits = self._plan.habits
        return habits[session] if session < len(habits) else Habits()

    def tool_takes(self) -> float:
        """Return how many seconds the next tool takes."""
        return self._tools.pop(0) if self._tools else TOOL_TAKES

    def opening(self) -> Opening:
        """Return how the next opening of a session goes."""
        opening = self._openings.pop(0) if self._openings else Opening()
        if opening.what != "ready":
            self.fails(f"opening {opening.what}", opening.seconds + opening.wait)
        elif opening.seconds > LONG:
            self.is_late("a slow opening", opening.seconds)
        return opening

    def fails(self, what: str, seconds: float) -> None:
        """A try fails, which may cost the caller so many seconds besides the next try."""
        self._truth.met.add(what)
        self.is_late(what, (FOUND_OUT if what == "never begins" else NEXT_TRY) + seconds)

    def is_late(self, what: str, seconds: float) -> None:
        """Something takes longer."""
        self._truth.troubles.append(Trouble(self._agenda.now, what, seconds))
