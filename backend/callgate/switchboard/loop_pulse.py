"""Measures how late the event loop is, to notice overload before callers hear it.

A timer is due every `INTERVAL`. Its delay is how long everything else waited too, audio included. One late beat is a
hiccup; several within a second mean that the process has more calls than it can carry, so it admits no further call
until it has caught up.
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
MOST_LATE = 3  # late beats among them that mean overload


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

    def _beat(self) -> None:
        self._lateness.append(self._loop.time() - self._due)
        if self.is_late != self._was_late:
            self._was_late = self.is_late
            if self._was_late:
                log.warning("The event loop is late by up to %.0f ms: no more calls are taken", self.lateness * 1000)
            else:
                log.warning("The event loop has caught up: calls are taken again")
        self.start()
