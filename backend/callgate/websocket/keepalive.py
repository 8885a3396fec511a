"""Keepalive for a socket: a silent peer is sent a ping, and given up if it does not answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from callgate.core.units import SECONDS

PING_AFTER = 20 * SECONDS  # of silence
PING_DEADLINE = 20 * SECONDS
LATE_READ = 0.1 * SECONDS  # in which a busy loop reads pending input


class Keepalive:
    """The keepalive of one socket, from `start` to `stop`.

    An answer counts if it was there to be read, however late the loop gets to it: silence is judged only after pending
    input has been read, so that a busy loop is not mistaken for a silent peer.

    ``was_heard``: returns whether something arrived since it was last called. ``ping``: sends the peer a ping.
    ``is_silent``: called once, if no answer arrived. ``after``, ``deadline``: seconds of silence before the ping, and
    before its answer.
    """

    def __init__(
        self,
        was_heard: Callable[[], bool],
        ping: Callable[[], None],
        is_silent: Callable[[], None],
        *,
        after: float = PING_AFTER,
        deadline: float = PING_DEADLINE,
    ) -> None:
        self._was_heard = was_heard
        self._ping = ping
        self._is_silent = is_silent
        self._after = after
        self.deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start the timer."""
        self._timer = self._loop.call_later(self._after, self._listen)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()

    def _listen(self) -> None:
        """Send a ping if the peer was silent."""
        if self._was_heard():
            self.start()
        else:
            self._timer = self._loop.call_later(self.deadline, self._read_once_more)
            self._ping()

    def _read_once_more(self) -> None:
        self._timer = self._loop.call_later(LATE_READ, self._judge)

    def _judge(self) -> None:
        if self._was_heard():
            self.start()
        else:
            self._is_silent()
