"""The way between a client and a server that is far away: messages are late, in order, and many may be under way."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable

from websockets.exceptions import ConnectionClosed

Message = str | bytes


class WayOut:
    """Delivers messages late by ``delay`` seconds, which may change at any time. Without a delay, `send` delivers them
    itself."""

    def __init__(self, deliver: Callable[[Message], Awaitable[None]]) -> None:
        self.delay = 0.0
        self._deliver = deliver
        self._under_way: deque[tuple[float, Message]] = deque()
        self._carrying: asyncio.Task[None] | None = None

    async def send(self, message: Message) -> None:
        """Send a message."""
        if not self.delay and not self._under_way:
            await self._deliver(message)
            return
        self._under_way.append((_now() + self.delay, message))
        if self._carrying is None or self._carrying.done():
            self._carrying = asyncio.create_task(self._carry())

    async def all_delivered(self) -> None:
        """Wait until nothing is under way."""
        if self._carrying is not None:
            await asyncio.wait((self._carrying,))

    async def close(self) -> None:
        """Lose what is under way."""
        if self._carrying is not None:
            self._carrying.cancel()
            await asyncio.wait((self._carrying,))

    async def _carry(self) -> None:
        while self._under_way:
            due, message = self._under_way[0]
            await asyncio.sleep(due - _now())
            try:
                await self._deliver(message)
            except ConnectionClosed:  # the way in tells of it
                self._under_way.clear()
                return
            self._under_way.popleft()


class WayIn:
    """Receives messages late by ``delay`` seconds, which may change at any time.

    ``receive``: receives one, or raises `ConnectionClosed`. ``arrived``: is told of each at once, before its delay.
    ``notify``: called after that, when it can't be lost any more.
    """

    def __init__(
        self,
        receive: Callable[[], Awaitable[Message]],
        arrived: Callable[[Message], None],
        notify: Callable[[], Awaitable[None]],
    ) -> None:
        self.delay = 0.0
        self._receive = receive
        self._arrived = arrived
        self._notify = notify
        self._under_way: deque[tuple[float, Message]] = deque()
        self._changed = asyncio.Event()
        self._closed: ConnectionClosed | None = None
        self._reading: asyncio.Task[None] | None = None

    async def next(self) -> Message:
        """Return the next message. Raises `ConnectionClosed`. No message is lost if this is cancelled: once there is
        one, nothing is awaited here, so whoever gets it notifies."""
        if not self.delay and self._reading is None:
            message = await self._receive()
            self._arrived(message)
            return message
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        while True:
            if self._closed is not None:
                raise self._closed
            wait = self._under_way[0][0] - _now() if self._under_way else None
            if wait is not None and wait <= 0:
                return self._under_way.popleft()[1]
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    async def close(self) -> None:
        """Stop reading."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))

    async def _read(self) -> None:
        try:
            while True:
                message = await self._receive()
                self._arrived(message)
                self._under_way.append((_now() + self.delay, message))
                self._changed.set()
                await self._notify()
        except ConnectionClosed as closed:
            self._closed = closed
            self._changed.set()


def _now() -> float:
    return asyncio.get_running_loop().time()
