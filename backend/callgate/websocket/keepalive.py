"""The sign of life that a socket asks of its peer: silence is answered with a ping, and more silence is the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from callgate.core.units import SECONDS

PING_AFTER = 20 * SECONDS  # of silence
PING_DEADLINE = 20 * SECONDS
LATE_READ = 0.1 * SECONDS  # in which a loop that was busy reads what lay waiting


class Keepalive:
    """One socket's, from its `start` to its `stop`.

    An answer counts when it was there to be read, however late the loop comes to it: silence is judged after the bytes
    that lay waiting have been read, so that a busy loop is not taken for a silent peer.

    ``was_heard``: says whether something came since it was asked last. ``ping``: asks the peer for an answer.
    ``is_silent``: is called once, when none came. ``after``, ``deadline``: seconds of silence before a ping, and before
    its answer.
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
        """Begin to listen."""
        self._timer = self._loop.call_later(self._after, self._listen)

    def stop(self) -> None:
        """Listen no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _listen(self) -> None:
        """The peer was silent for a while, or was not."""
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
