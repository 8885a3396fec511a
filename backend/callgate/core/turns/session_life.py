"""How long a model session may serve a call, and what follows it. Pure; times are seconds on one clock.

A lost session is replaced: at once, then after increasing waits. A session that nears its limit of 60 minutes is
replaced in a pause by a successor, which is opened while the old one still serves.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from callgate.core.units import SECONDS

RETRY_AFTER = (0.0, 0.3, 1.0, 2.0)  # before each attempt to replace a lost model; then the safety net
LOSSES = 4  # of models within `LOSSES_WITHIN`; then the safety net
LOSSES_WITHIN = 60 * SECONDS
ROLLOVER_AFTER = 50 * 60 * SECONDS  # in the first pause after this; a model session ends after 60 minutes
ROLLOVER_AT_LAST = 58 * 60 * SECONDS  # after this even in the middle of a sentence
ROLLOVER_AGAIN = 10 * SECONDS  # after a successor could not be opened


class Successor(Enum):
    NONE = "the session that serves is the only one"
    OPENING = "another is being opened"
    READY = "another waits for a pause"


class Tenure:
    """The succession of one call's model sessions."""

    def __init__(self, now: float) -> None:
        self.successor = Successor.NONE
        self._since = now
        self._rollover_at = now + ROLLOVER_AFTER
        self._attempts = 0  # to open the session being opened
        self._losses: deque[float] = deque(maxlen=LOSSES)

    def began(self, now: float) -> None:
        """A session serves the call from now on."""
        self.successor = Successor.NONE
        self._since = now
        self._rollover_at = now + ROLLOVER_AFTER
        self._attempts = 0

    def lost(self, now: float) -> bool:
        """The session was lost. Return whether that was once too often."""
        self.successor = Successor.NONE
        self._attempts = 0
        self._losses.append(now)
        return len(self._losses) == LOSSES and self._losses[0] > now - LOSSES_WITHIN

    def not_opened(self) -> float | None:
        """No session could be opened. Return how long to wait before the next attempt; None: that was the last one."""
        self._attempts += 1
        return RETRY_AFTER[self._attempts] if self._attempts < len(RETRY_AFTER) else None

    def no_successor(self, now: float) -> None:
        """No successor could be opened: try again a little later."""
        self.successor = Successor.NONE
        self._rollover_at = now + ROLLOVER_AGAIN

    def is_ending(self, now: float) -> bool:
        """Whether the session's hour is nearly over."""
        return now >= self._rollover_at

    def is_over(self, now: float) -> bool:
        """Whether the session can't wait for a pause any longer."""
        return now >= self._since + ROLLOVER_AT_LAST
