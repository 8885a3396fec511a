"""A bounded queue of frames for one socket, empty as long as the peer keeps up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

Send = Callable[[bytes], None]


class Outbox:
    """Sits between a call's events and a socket that may be full, or not there yet. It starts paused.

    ``most``: bytes that may wait; beyond that the outbox is `full`, and whoever put the last frame has to end the call.
    ``most_droppable``: bytes that may wait of frames put as ``droppable``; beyond that the oldest of these are dropped
    and counted.
    """

    def __init__(self, most: int, most_droppable: int = 0) -> None:
        self._most = most
        self._most_droppable = most_droppable
        self._send: Send | None = None
        self._send_both: Callable[[bytes, bytes], None] | None = None
        self._copy: Send | None = None
        self._paused = False
        self._waiting: deque[tuple[bytes, bool]] = deque()
        self._size = 0
        self._droppable_size = 0
        self.dropped = 0  # frames

    @property
    def full(self) -> bool:
        """Whether more bytes wait than are allowed."""
        return self._size > self._most

    def put(self, frame: bytes, *, droppable: bool = False) -> None:
        """Send a frame, after those that wait."""
        if droppable and self._copy is not None:
            self._copy(frame)
        if self._send is not None and not self._paused and not self._waiting:
            self._send(frame)
            return
        self._waiting.append((frame, droppable))
        self._count(frame, droppable, 1)
        while droppable and self._droppable_size > self._most_droppable:
            self._drop_oldest()

    def put_both(self, first: bytes, second: bytes) -> None:
        """Send two frames, in one write if the socket supports it."""
        if self._send_both is not None and not self._paused and not self._waiting:
            self._send_both(first, second)
            return
        self.put(first)
        self.put(second)

    def open(self, send: Send, send_both: Callable[[bytes, bytes], None] | None = None) -> None:
        """The socket is ready: send what waits, and from now on every frame that is put."""
        self._send, self._send_both = send, send_both
        self._flush()

    def copy_to(self, send: Send | None) -> None:
        """Send each droppable frame that is put from now on to another socket, too; None: to none."""
        self._copy = send

    def shut(self) -> None:
        """The socket is gone: drop what waits for it, and keep later frames for the next one."""
        self._send = self._send_both = None
        self._paused = False
        self.clear()

    def pause(self) -> None:
        """The socket is full."""
        self._paused = True

    def resume(self) -> None:
        """The socket accepts frames again."""
        self._paused = False
        self._flush()

    def clear(self) -> None:
        """Drop everything that waits."""
        self._waiting.clear()
        self._size = self._droppable_size = 0

    def _flush(self) -> None:
        while self._waiting and self._send is not None and not self._paused:  # sending may pause it
            frame, droppable = self._waiting.popleft()
            self._count(frame, droppable, -1)
            self._send(frame)

    def _drop_oldest(self) -> None:
        at = next(at for at, (_, droppable) in enumerate(self._waiting) if droppable)
        self._count(self._waiting[at][0], True, -1)
        del self._waiting[at]
        self.dropped += 1

    def _count(self, frame: bytes, droppable: bool, sign: int) -> None:
        self._size += sign * len(frame)
        if droppable:
            self._droppable_size += sign * len(frame)
