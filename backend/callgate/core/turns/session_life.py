"""How long a model session may serve a call. Pure; times are seconds on one clock.

A session that nears its limit of 60 minutes is replaced in a pause by a successor, which is opened while the old one
still serves.
"""

from __future__ import annotations

from callgate.core.units import SECONDS

ROLLOVER_AFTER = 50 * 60 * SECONDS  # in the first pause after this; a model session ends after 60 minutes
ROLLOVER_AT_LAST = 58 * 60 * SECONDS  # after this even in the middle of a sentence
YOUNG = 60 * SECONDS  # a session that its server ends before that has not reached its limit
ROLLOVER_AGAIN = 10 * SECONDS  # after a successor could not be opened


class SessionLife:
    """The age of the session that serves a call."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._rollover_at = now + ROLLOVER_AFTER

    def began(self, now: float) -> None:
        """A session serves the call from now on."""
        self._since = now
        self._rollover_at = now + ROLLOVER_AFTER

    def no_successor(self, now: float) -> None:
        """No successor could be opened: try again a little later."""
        self._rollover_at = now + ROLLOVER_AGAIN

    def is_young(self, now: float) -> bool:
        """Whether the session has only just begun to serve the call."""
        return now < self._since + YOUNG

    def is_ending(self, now: float) -> bool:
        """Whether the session's hour is nearly over."""
        return now >= self._rollover_at

    def is_over(self, now: float) -> bool:
        """Whether the session can't wait for a pause any longer."""
        return now >= self._since + ROLLOVER_AT_LAST
