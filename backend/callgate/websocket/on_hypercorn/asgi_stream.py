"""A Media Stream's socket on the ordinary path: as served by Quart and Hypercorn under ASGI.

It is for connections that can't be taken over (`takeover`). The session sees the same `Socket`, but it costs several
times as much.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import quart.wrappers
from quart import Websocket

from callgate.websocket.sockets import Receiver

from .port import ALLOWANCE, POLICY_VIOLATION

# Quart 0.23 raises this when the peer is gone, and cancels the route; older versions only cancel.
_Disconnected: type[Exception] = getattr(quart.wrappers, "ClientDisconnectedError", ConnectionError)

CLOSE_DEADLINE = 2.0  # seconds
WRITE_HIGH, WRITE_LOW = 64 * 1024, 16 * 1024  # bytes waiting for the peer: pause above, resume below
LOST = 1006  # RFC 6455 §7.1.5

_Step = Callable[[], Any]  # creates the awaitable that sends one frame


class AsgiStream:
    """An accepted Quart WebSocket, as a `sockets.Socket`."""

    def __init__(self, websocket: Websocket, receiver: Receiver) -> None:
        self._receiver = receiver
        self._websocket = websocket
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: deque[tuple[_Step, int]] = deque()
        self._size = 0
        self._paused = False
        self._ready = asyncio.Event()
        self._closing = False
        self._tasks: list[asyncio.Future[None]] = []

    def start(self) -> None:
        """Start reading and writing. Quart cancels its own task when the peer is gone, though earlier messages may not
        have been read yet, so reading and writing have tasks of their own, until `stop`."""
        self._tasks = [asyncio.ensure_future(part) for part in (self._read(), self._write())]

    def serve(self, receiver: Receiver) -> None:
        """Pass what arrives from now on to ``receiver``."""
        self._receiver = receiver

    def peer_gone(self) -> None:
        """Nothing more will arrive than is already there."""
        if not self._gone.done():
            self._gone.set_result(None)

    async def stop(self) -> None:
        """End the tasks that `start` began."""
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)

    def send_text(self, message: bytes) -> None:
        """Send a text message, given as UTF-8; on a closed socket this does nothing."""
        self._put(lambda: self._websocket.send(message.decode()), len(message))

    def send_texts(self, first: bytes, second: bytes) -> None:
        """Send two text messages."""
        self.send_text(first)
        self.send_text(second)

    def send_binary(self, message: bytes) -> None:
        """Send a binary message."""
        self._put(lambda: self._websocket.send(message), len(message))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake; on a closing socket this does nothing."""
        self._put(lambda: self._websocket.close(code, reason), 0)
        self._closing = True

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                await asyncio.shield(self._gone)

    @property
    def waiting(self) -> int:
        """How many bytes are waiting for the peer."""
        return self._size

    async def _read(self) -> None:
        try:
            with contextlib.suppress(_Disconnected):
                while (message := await self._receive()) is not None:
                    if self._closing:
                        continue
                    if isinstance(message, str):
                        self._receiver.text_received(message.encode())
                    else:
                        self._receiver.binary_received(message)
                    self._receiver.batch_received()
        finally:
            allowance = cast(Any, self._websocket.scope["extensions"]).get(ALLOWANCE)
            if allowance is not None and allowance.exceeded:
                self._receiver.connection_closed(POLICY_VIOLATION, allowance.exceeded)
            else:
                self._receiver.connection_closed(LOST, "the connection was lost")

    async def _receive(self) -> str | bytes | None:
        """Return the next message; None once everything has been read and the peer is gone."""
        message = asyncio.ensure_future(self._websocket.receive())
        try:
            await asyncio.wait((message, self._gone), return_when=asyncio.FIRST_COMPLETED)
            if not message.done():
                return None
            received = message.result()
            return b"" if received is None else received  # how Quart represents an empty binary message
        finally:
            message.cancel()

    async def _write(self) -> None:
        with contextlib.suppress(_Disconnected):
            while True:
                await self._ready.wait()
                self._ready.clear()
                while self._waiting:
                    step, size = self._waiting.popleft()
                    await step()
                    self._size -= size
                    if self._paused and self._size <= WRITE_LOW:
                        self._paused = False
                        self._receiver.resume_writing()

    def _put(self, step: _Step, size: int) -> None:
        if self._closing or self._gone.done():
            return
        self._waiting.append((step, size))
        self._size += size
        self._ready.set()
        if not self._paused and self._size > WRITE_HIGH:
            self._paused = True
            self._receiver.pause_writing()
