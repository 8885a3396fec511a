"""Measures how late the event loop is, to notice overload before callers hear it.

A timer is due every `INTERVAL`. Its delay is how long everything else waited too, audio included. One late beat is a
hiccup; several within a second, while many calls are on the line, mean that the process has more calls than it can
carry, so it admits no further call until it has caught up. With few calls it is something else that holds the loop up
(the machine, its disk), and a caller is better off with an agent that is a little late than with none.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from callgate.core.units import SECONDS

log = logging.getLogger(__name__)

INTERVAL = 0.1 * SECONDS
LATE = 0.04 * SECONDS  # two frames of the caller's audio
BEATS = 10  # the beats that are judged: about one second
MOST_LATE = 3  # late beats among them that are no mere hiccup
MANY_CALLS = 0.25  # of all lines (MAX_CALLS): with fewer calls, these are not what makes the loop late


class Pulse:
    """Measures the lateness of the running event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lateness: deque[float] = deque(maxlen=BEATS)
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._was_late = False

    def start(self) -> None:
        """Schedule the next beat, and so on until `stop`."""
        self._due = self._loop.time() + INTERVAL
        self._timer = self._loop.call_at(self._due, self._beat)

    def stop(self) -> None:
        """Stop beating."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def lateness(self) -> float:
        """The loop's greatest lateness within the last second, in seconds."""
        return max(self._lateness, default=0.0)

    @property
    def is_late(self) -> bool:
        """Whether the loop keeps being late."""
        return sum(late > LATE for late in self._lateness) >= MOST_LATE

    def is_overloaded(self, share: float) -> bool:
        """Whether there are more calls than the loop can carry. ``share``: of all lines, how many are taken."""
        return share >= MANY_CALLS and self.is_late

    def _beat(self) -> None:
        self._lateness.append(self._loop.time() - self._due)
        if self.is_late != self._was_late:
            self._was_late = self.is_late
            if self._was_late:
                log.warning(
                    "The event loop is late by up to %.0f ms: no more calls are taken while %.0f %% of the lines are",
                    self.lateness * 1000,
                    MANY_CALLS * 100,
                )
            else:
                log.warning("The event loop has caught up: all lines can be taken again")
        self.start()
