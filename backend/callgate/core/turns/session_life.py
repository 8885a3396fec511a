"""How long a session of the model's may serve a call, and what follows it. Pure; times are seconds of one clock.

One that is lost is replaced: at once, then after ever longer waits. One whose 60 minutes are coming to their end is
followed by another in a pause, for which a successor is opened while it still serves.
"""

from __future__ import annotations

from collections import deque
from enum import Enum

from callgate.core.units import SECONDS

RETRY_AFTER = (0.0, 0.3, 1.0, 2.0)  # before each attempt to replace a model that was lost; then the safety net
LOSSES = 4  # of models, within `LOSSES_WITHIN`; then the safety net
LOSSES_WITHIN = 60 * SECONDS
ROLLOVER_AFTER = 50 * 60 * SECONDS  # of a model's session, which ends after 60 minutes: in the next pause
ROLLOVER_AT_LAST = 58 * 60 * SECONDS  # and then even in mid-sentence
ROLLOVER_AGAIN = 10 * SECONDS  # after a successor that could not be opened


class Successor(Enum):
    NONE = "the session that serves is the only one"
    OPENING = "another is being opened"
    READY = "another waits for a pause"


class Tenure:
    """Of one call's sessions, one after the other."""

    def __init__(self, now: float) -> None:
        self.successor = Successor.NONE
        self._since = now
        self._rollover_at = now + ROLLOVER_AFTER
        self._attempts = 0  # to open the one that is being opened
        self._losses: deque[float] = deque(maxlen=LOSSES)

    def began(self, now: float) -> None:
        """A session serves the call from now on."""
        self.successor = Successor.NONE
        self._since = now
        self._rollover_at = now + ROLLOVER_AFTER
        self._attempts = 0

    def lost(self, now: float) -> bool:
        """The session was lost. Returns whether that was once too often."""
        self.successor = Successor.NONE
        self._attempts = 0
        self._losses.append(now)
        return len(self._losses) == LOSSES and self._losses[0] > now - LOSSES_WITHIN

    def not_opened(self) -> float | None:
        """No session could be opened. How long to wait before the next attempt; None: that was the last."""
        self._attempts += 1
        return RETRY_AFTER[self._attempts] if self._attempts < len(RETRY_AFTER) else None

    def no_successor(self, now: float) -> None:
        """None could be opened: try again a little later."""
        self.successor = Successor.NONE
        self._rollover_at = now + ROLLOVER_AGAIN

    def is_ending(self, now: float) -> bool:
        """Whether the session's hour is coming to its end."""
        return now >= self._rollover_at

    def is_over(self, now: float) -> bool:
        """Whether it can't be waited for a pause any more."""
        return now >= self._since + ROLLOVER_AT_LAST
