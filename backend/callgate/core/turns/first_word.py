"""What the agent is asked to say first: the greeting, or that it goes on. Pure."""

from __future__ import annotations

from callgate.core.absences import Absences

from .briefing import COME_BACK, GO_ON, RETURN


class FirstWord:
    """The first word on one stream, and of each model session. ``is_back``: the call had earlier streams."""

    def __init__(self, greeting: str, *, is_back: bool, absences: Absences) -> None:
        self.is_said = is_back  # the call needs no greeting any more
        self._words = f"Greet the caller now. Say exactly this, and nothing else:\n{greeting}"
        if is_back:
            self._words = RETURN if absences.back else COME_BACK
        self._is_open = True

    @property
    def is_open(self) -> bool:
        """Whether there is a first word to say on this stream."""
        return self._is_open

    @property
    def instructions(self) -> str:
        """The instructions for the response that says it."""
        return self._words

    def said(self) -> None:
        """The caller has heard the agent."""
        self.is_said = True
        self._is_open = False
        self._words = GO_ON
