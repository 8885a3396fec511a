"""The rule that a call ends only when there is a cause for it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from callgate.core.turns.commands import End, Note, Outcome
from callgate.core.turns.recovery import MOST_STRIKES

from .broken import Broken
from .speech import is_good

if TYPE_CHECKING:
    from .scene import Scene

END = "an end"
OF_TOOLS = ("The model called the tool", "The key ", "A tool of a remote")
LOOKS_BACK = 25.0  # seconds before the last answer: trouble that old may still count
MOST_IN_A_ROW = 2 * MOST_STRIKES  # responses that are nothing, as another session may be waited for
SPEAKS_WITHIN = 3.0  # seconds: a model that is about to speak would answer


class EndRules:
    """It. ``may``: the outcomes for which there was a cause."""

    def __init__(self, scene: Scene) -> None:
        self.may: set[Outcome] = set()
        self.is_fatal = False
        self._scene = scene
        self._good_at = 0.0  # when the caller last heard a whole answer
        self._in_a_row = 0  # responses since then of which nothing was heard
        self._warnings: list[str] = []

    @property
    def may_leave(self) -> bool:
        """Whether the agent is allowed to leave."""
        return bool(self.may - {Outcome.CALLER_HUNG_UP})

    def answered(self) -> None:
        """The caller has heard a response that ended as it should."""
        self._good_at = self._scene.agenda.now
        self._in_a_row = 0

    def failed(self) -> None:
        """A response that was requested has ended without a sound."""
        self._in_a_row += 1
        if self._in_a_row > MOST_IN_A_ROW and self._scene.ended is None:
            raise Broken(END, f"{self._in_a_row} responses in a row were nothing, and there is no safety net")

    def noted(self, note: Note) -> None:
        """Something is logged."""
        if note.level >= logging.WARNING and not note.text.startswith(OF_TOOLS):
            self._warnings.append(note.text)

    def ends(self, end: End) -> None:
        """The call ends."""
        if end.outcome in self.may:
            return
        if end.outcome is not Outcome.FAILED:
            raise Broken(END, f"{end.outcome.name} without a cause: {end.reason}")
        if self.is_fatal:
            return
        if not end.reason:
            raise Broken(END, "the safety net does not say what was tried")
        troubles = [trouble for trouble in self._scene.truth.troubles if trouble.at >= self._good_at - LOOKS_BACK]
        if len(troubles) < MOST_STRIKES:
            what = ", ".join(trouble.what for trouble in troubles) or "nothing"
            raise Broken(END, f"the safety net after {len(troubles)} failures ({what}): {end.reason}")
        self._check_that_none_lives()

    def at_end(self) -> None:
        """The call is over. If nothing went wrong on the model's side, nothing was done about it."""
        if self._scene.plan.is_calm:
            if self._warnings:
                raise Broken("calm", f"there is a warning: {self._warnings[0]}")
            if len(self._scene.servers) > 1 + self._scene.plan.hours:
                raise Broken("calm", "another session was opened")

    def _check_that_none_lives(self) -> None:
        now = self._scene.agenda.now
        for server in (self._scene.sessions.current, self._scene.sessions.next):
            response = server.response if server is not None and server.lives else None
            if response is None or not is_good(response.answer.what):
                continue
            if now < response.began_at + server.habits.latency + 0.02:  # nobody can know yet
                continue
            if now < response.began_at + response.answer.thinking < now + SPEAKS_WITHIN:
                raise Broken(END, f"the safety net, though {response.id} is about to speak")
