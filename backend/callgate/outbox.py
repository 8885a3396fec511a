"""What waits to be written to one socket: bounded, in order, written by one task."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

Send = Callable[[str], Awaitable[None]]


class Outbox:
    """A queue of text frames between a call's events, which never wait, and a socket, which may.

    ``most``: characters that may wait; beyond it the outbox is `full`, and whoever put the last frame has to end the
    call. ``most_droppable``: characters of frames put as ``droppable`` that may wait; beyond it the oldest of these are
    dropped, and counted.
    """

    def __init__(self, most: int, most_droppable: int = 0) -> None:
        self._most = most
        self._most_droppable = most_droppable
        self._waiting: deque[tuple[str, bool]] = deque()
        self._size = 0
        self._droppable_size = 0
        self._ready = asyncio.Event()
        self.dropped = 0  # frames

    @property
    def full(self) -> bool:
        """Whether more waits than may."""
        return self._size > self._most

    def put(self, frame: str, *, droppable: bool = False) -> None:
        """Add a frame at the end."""
        self._waiting.append((frame, droppable))
        self._count(frame, droppable, 1)
        while droppable and self._droppable_size > self._most_droppable:
            self._drop_oldest()
        self._ready.set()

    def clear(self) -> None:
        """Forget all that waits."""
        self._waiting.clear()
        self._size = self._droppable_size = 0

    async def write(self, send: Send, seconds: float) -> None:
        """Write what comes, for ever. Raises `TimeoutError` when one frame takes longer than ``seconds``."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._waiting:
                frame, droppable = self._waiting.popleft()
                self._count(frame, droppable, -1)
                async with asyncio.timeout(seconds):
                    await send(frame)

    def _drop_oldest(self) -> None:
        at = next(at for at, (_, droppable) in enumerate(self._waiting) if droppable)
        self._count(self._waiting[at][0], True, -1)
        del self._waiting[at]
        self.dropped += 1

    def _count(self, frame: str, droppable: bool, sign: int) -> None:
        self._size += sign * len(frame)
        if droppable:
            self._droppable_size += sign * len(frame)
