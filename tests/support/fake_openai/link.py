"""One connection's socket: what is sent on it and received from it is recorded, checked, and late if it is far."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.asyncio.server import ServerConnection

from support.realtime_types import EventInvalid, validate_client_event

from .distance import WayIn, WayOut
from .habits import Away
from .seen import Connection, Event, Received


class Over(Exception):
    """The fake has ended the connection."""


class Link:
    """The socket of one session. ``received``, ``violations``: where to record what comes; ``notify``: tells that
    something did."""

    def __init__(
        self,
        websocket: ServerConnection,
        connection: Connection,
        away: Away,
        received: list[Received],
        violations: list[str],
        notify: Callable[[], Awaitable[None]],
    ) -> None:
        self._websocket = websocket
        self._connection = connection
        self._received = received
        self._violations = violations
        self._out = WayOut(websocket.send)
        self._in = WayIn(websocket.recv, self._record, notify)
        self.move(away.sent, away.received)

    def move(self, sent: float, received: float) -> None:
        """From now on, what is sent and what is received is late by so many seconds."""
        self._out.delay, self._in.delay = sent, received

    async def next(self) -> str | bytes:
        """Return the next message that has arrived. Raises `ConnectionClosed`."""
        return await self._in.next()

    async def write(self, message: str | bytes | Event) -> None:
        """Send a message: an event as JSON."""
        if isinstance(message, dict):
            self._connection.sent.append(message)
            self._connection.sent_at.append(asyncio.get_running_loop().time())
            message = json.dumps(message)
        await self._out.send(message)

    async def close(self, code: int, reason: str) -> None:
        """Close the WebSocket, behind all that was sent. Raises `Over`."""
        await self._out.all_delivered()
        await self._websocket.close(code, reason)
        raise Over

    async def reset(self) -> None:
        """Reset the TCP connection, behind all that was sent. Raises `Over`."""
        await self._out.all_delivered()
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def abort(self) -> None:
        """Drop the connection. Raises `Over`."""
        self._websocket.transport.abort()
        raise Over

    def read_little(self) -> None:
        """Let the kernel buffer only little of what comes."""
        self._socket().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)

    async def leave(self) -> None:
        """Read and deliver nothing more."""
        await self._in.close()
        await self._out.close()

    def _record(self, frame: str | bytes) -> None:
        """Record a client event at its arrival, which may be before the server reads it."""
        number = self._connection.number
        try:
            event = json.loads(frame)
            validate_client_event(event)
        except (ValueError, AttributeError):
            self._violations.append(f"connection {number}: not a JSON object: {frame[:80]!r}")
            return
        except EventInvalid as invalid:
            self._violations.append(f"connection {number}: {invalid}")
        self._connection.received.append(event)
        self._received.append(Received(asyncio.get_running_loop().time(), number, event))

    def _socket(self) -> Any:
        return self._websocket.transport.get_extra_info("socket")
