"""A call's timers: the conversation's next deadline, and how long a socket may stay full."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from callgate.core.units import SECONDS
from callgate.core.wire.media_stream import FRAME_SECONDS

WRITE_DEADLINE = 10 * SECONDS  # for a full socket to accept something
LATE = 0.1 * SECONDS  # a deadline met this late is evaluated only after pending input has been read


class Deadline:
    """The conversation's next deadline. ``then``: called at that time, with the time.

    ``due``: the deadline (infinity: none). It is met by the timer, or by the first message from Twilio after it, which
    usually comes earlier: whoever receives that message has to call `met`.
    """

    def __init__(self, then: Callable[[float], None]) -> None:
        self.due = math.inf
        self._then = then
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def arm(self, at: float) -> None:
        """Set the deadline, unless an earlier one is set already."""
        if self._timer is not None and at >= self.due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self.due = at
        # Usually a message from Twilio arrives before that, and no wake-up is needed.
        self._timer = self._loop.call_at(at + FRAME_SECONDS, self.met, at)

    def met(self, due: float) -> None:
        """The deadline that was ``due`` at that time has come."""
        now = self._loop.time()
        self.cancel()
        self._timer = None
        self.due = math.inf
        if now - due > LATE:  # the loop was busy: the awaited input may be there, but unread
            self.due = now + LATE / 2
            self._timer = self._loop.call_at(self.due, self.met, self.due)
            return
        self._then(now)

    def cancel(self) -> None:
        """Cancel the deadline."""
        if self._timer is not None:
            self._timer.cancel()


class Stall:
    """Watches a socket that is full. ``then``: called when it has accepted nothing for `WRITE_DEADLINE`."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False

    def begin(self) -> None:
        """The socket is full."""
        if self._timer is None and not self._is_closed:
            self._timer = self._loop.call_later(WRITE_DEADLINE, self._then)

    def end(self) -> None:
        """The socket accepted something, or is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self) -> None:
        """The call is over: nothing is watched any longer."""
        self._is_closed = True
        self.end()
