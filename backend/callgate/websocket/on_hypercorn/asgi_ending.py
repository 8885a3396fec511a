"""Ends a WebSocket under ASGI on time, for an application that waits for the end.

Quart 0.23 releases a WebSocket only when its server sends ``websocket.disconnect``, even if the route closed or refused
it long before. Hypercorn sends that when the peer leaves, which a peer need not do, and never for an upgrade that it
refused itself. A peer could thus hold a connection for ever, and since Python 3.12 keep the server from stopping.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Any, Any], Awaitable[None]]

CLOSE_DEADLINE = 2.0  # seconds for the peer to answer a close
LOST = 1006  # RFC 6455 §7.1.5


class EndsInTime:
    """An ASGI application whose WebSockets end soon after it closed or refused them."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            websocket = _WebSocket(receive, send)
            receive, send = websocket.receive, websocket.send
        await self._app(scope, receive, send)


class _WebSocket:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._ends_at: float | None = None
        self._waiting: asyncio.Timeout | None = None

    async def receive(self) -> Message:
        try:
            async with asyncio.timeout_at(self._ends_at) as self._waiting:
                return await self._receive()
        except TimeoutError:
            return {"type": "websocket.disconnect", "code": LOST}
        finally:
            self._waiting = None

    async def send(self, message: Message) -> None:
        await self._send(message)
        if message["type"] == "websocket.close":
            self._end_in(CLOSE_DEADLINE)
        elif message["type"] == "websocket.http.response.body" and not message.get("more_body"):
            self._end_in(0)

    def _end_in(self, seconds: float) -> None:
        self._ends_at = asyncio.get_running_loop().time() + seconds
        if self._waiting is not None:
            self._waiting.reschedule(self._ends_at)
