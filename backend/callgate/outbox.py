"""What waits to be written to one socket: bounded, in order, written by one task."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

Send = Callable[[str], Awaitable[None]]


class Outbox:
    """A queue of text frames between a call's events, which never wait, and a socket, which may.

    ``most``: characters that may wait. Beyond it the oldest frames put as ``droppable`` are dropped and counted; where
    there is none, the outbox is `full`, and whoever put the last frame has to end the call.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: deque[tuple[str, bool]] = deque()
        self._size = 0
        self._ready = asyncio.Event()
        self.dropped = 0  # frames

    @property
    def full(self) -> bool:
        """Whether more waits than may."""
        return self._size > self._most

    def put(self, frame: str, *, droppable: bool = False) -> None:
        """Add a frame at the end."""
        self._waiting.append((frame, droppable))
        self._size += len(frame)
        if self._size > self._most:
            self._drop()
        self._ready.set()

    def clear(self) -> None:
        """Forget all that waits."""
        self._waiting.clear()
        self._size = 0

    async def write(self, send: Send, seconds: float) -> None:
        """Write what comes, for ever. Raises `TimeoutError` when one frame takes longer than ``seconds``."""
        while True:
            await self._ready.wait()
            self._ready.clear()
            while self._waiting:
                frame, _ = self._waiting.popleft()
                self._size -= len(frame)
                async with asyncio.timeout(seconds):
                    await send(frame)

    def _drop(self) -> None:
        kept: deque[tuple[str, bool]] = deque()
        while self._waiting and self._size > self._most:
            frame, droppable = self._waiting.popleft()
            if droppable:
                self._size -= len(frame)
                self.dropped += 1
            else:
                kept.append((frame, droppable))
        self._waiting.extendleft(reversed(kept))
