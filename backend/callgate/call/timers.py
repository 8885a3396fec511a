"""A call's timers: the conversation's next deadline, and how long a socket may stay full."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import FRAME_SECONDS

WRITE_DEADLINE = 10 * SECONDS  # for a socket that is full to take something
LATE = 0.1 * SECONDS  # a deadline met this late is judged after what lay waiting has been read


class Deadline:
    """When the conversation wants to be asked next. ``then``: is called at that time, with the time.

    ``due``: when the timer goes off (infinity: never), or the first of Twilio's messages after that comes, which as a
    rule is earlier: whoever receives it has to call `met`.
    """

    def __init__(self, then: Callable[[float], None]) -> None:
        self.due = math.inf
        self._then = then
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, at: float) -> None:
        """Ask at this time, unless that is done earlier anyway."""
        if self._timer is not None and at >= self.due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.due = at
        # As a rule a message of Twilio's comes before that, and nobody has to be woken for it.
        self._timer = self._loop.call_at(at + FRAME_SECONDS, self.met, at)

    def met(self, due: float) -> None:
        """What was ``due`` then is so now."""
        now = self._loop.time()
        self.cancel()
        self._timer = None
        self.due = math.inf
        if now - due > LATE:  # the loop was busy: what it has not read yet may be what is waited for
            self.due = now + LATE / 2
            self._timer = self._loop.call_at(self.due, self.met, self.due)
            return
        self._then(now)

    def cancel(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()


class Stall:
    """A socket that is full. ``then``: is called when it has taken nothing for `WRITE_DEADLINE`."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """It is full."""
        if self._timer is None:
            self._timer = self._loop.call_later(WRITE_DEADLINE, self._then)

    def end(self) -> None:
        """It takes something, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
