"""A Media Stream's socket as Quart serves it under ASGI."""

from __future__ import annotations

import asyncio
import contextlib

import quart.wrappers
from quart import Websocket

from .session import StreamClosed

# Quart 0.23 raises it when the peer is gone, and cancels the route; an older one only cancels.
_Disconnected: type[Exception] = getattr(quart.wrappers, "ClientDisconnectedError", StreamClosed)


class AsgiStream:
    """An accepted WebSocket of Quart's, as `callgate.session.TwilioSocket`.

    Quart cancels the route's task when the peer is gone, though what came before may not have been read yet. So the
    session runs in a task of its own, and `serve` tells the socket when there will be nothing more to read.
    """

    def __init__(self, websocket: Websocket) -> None:
        self._websocket = websocket
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._closed = False

    async def receive(self) -> str | bytes:
        """The next frame. Raises `StreamClosed` when all has been read and the peer is gone."""
        frame = asyncio.ensure_future(self._websocket.receive())
        try:
            await asyncio.wait((frame, self._gone), return_when=asyncio.FIRST_COMPLETED)
            if frame.done():
                return frame.result()
            raise StreamClosed
        except _Disconnected:
            raise StreamClosed from None
        finally:
            frame.cancel()

    async def send(self, frame: str) -> None:
        """Send a frame; to a closed socket it does nothing."""
        if not self._closed and not self._gone.done():
            with contextlib.suppress(_Disconnected):
                await self._websocket.send(frame)

    async def close(self, code: int, reason: str) -> None:
        """Close it; a closed one stays as it is."""
        if not self._closed and not self._gone.done():
            self._closed = True
            with contextlib.suppress(_Disconnected):
                await self._websocket.close(code, reason)

    def peer_gone(self) -> None:
        """The peer closed the socket, or it was lost."""
        if not self._gone.done():
            self._gone.set_result(None)
