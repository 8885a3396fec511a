"""The one hook into Hypercorn: an accepted WebSocket's connection is taken from it, for a `WebSocketServer`.

Hypercorn reads and answers the upgrade as usual. `install` makes it put into the ASGI scope of each WebSocket over
HTTP/1.1 how its connection can be taken; `take` then gives the transport another protocol. After that Hypercorn hears
of the connection only once more, when it is lost, so that its bookkeeping ends as for any closed connection.

This relies on Hypercorn's internals: a `WSStream` spawns the application through its ``task_group``, and has a bound
``send`` of its `H11Protocol`, whose own ``send`` is bound to the `TCPServer` with ``reader`` and ``writer``. If the
installed version differs, `take` warns once and leaves the connection where it is: `asgi_stream` then serves the same
session.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.protocol.events import Data, Event, Request, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream

from callgate.websocket.server import WebSocketServer

from . import port as hypercorn_port

log = logging.getLogger(__name__)

EXTENSION = "callgate.websocket.on_hypercorn.takeover"

_warned: set[str] = set()


class Takeover:
    """How one WebSocket's connection can be taken. It sits between the stream and the application."""

    def __init__(self, stream: WSStream, server: TCPServer) -> None:
        self._stream, self._server = stream, server
        self._task_group = stream.task_group
        self._send: Callable[[Any], Awaitable[None]]
        self._taken = False
        self.passed_by = False  # Hypercorn has read some of the WebSocket's bytes itself

    def __getattr__(self, name: str) -> Any:
        """Delegate everything else to the stream's task group."""
        return getattr(self._task_group, name)

    async def spawn_app(self, app: Any, config: Any, scope: Any, send: Callable[[Any], Awaitable[None]]) -> Any:
        """Start the application with this object in its scope."""
        self._send = send
        scope["extensions"][EXTENSION] = self
        return await self._task_group.spawn_app(app, config, scope, self._app_send)

    def pass_by(self) -> None:
        """Hypercorn reads some of the WebSocket's bytes itself."""
        self.passed_by = True

    def take(self, protocol: WebSocketServer) -> None:
        """Give the connection to ``protocol``, along with what arrived right after the upgrade: bytes, or the end of
        the stream."""
        transport, reader = cast(asyncio.Transport, self._server.writer.transport), self._server.reader
        if transport.is_closing():  # it was lost meanwhile, and Hypercorn has been told
            protocol.connection_made(transport)
            return
        buffer: bytearray = reader._buffer  # type: ignore[attr-defined]
        early = bytes(buffer)
        buffer.clear()
        protocol.tell_when_lost(transport.get_protocol().connection_lost)
        transport.set_protocol(protocol)
        self._taken = True
        protocol.connection_made(transport)
        transport.resume_reading()  # the reader may have paused it
        if early:
            protocol.data_received(early)
        if reader.at_eof() and not protocol.eof_received():  # the transport reports it only once
            transport.close()

    async def _app_send(self, message: Mapping[str, Any] | None) -> None:
        """Pass on what the application sends; after the takeover that is only its end."""
        if not self._taken:
            await self._send(message)
        elif message is None:
            await self._stream.send(StreamClosed(stream_id=self._stream.stream_id))


def install() -> None:
    """Make Hypercorn offer the takeover, in this process. Calling it again changes nothing."""
    WSStream.handle = _handle  # type: ignore[method-assign, assignment]


def uninstall() -> None:
    """Leave all connections with Hypercorn, in this process."""
    WSStream.handle = hypercorn_port.handle  # type: ignore[method-assign, assignment]


def take(scope: Mapping[str, Any], protocol: WebSocketServer) -> bool:
    """Take the connection of a WebSocket that was just accepted. Return False if it stays with Hypercorn."""
    takeover: Takeover | None = scope["extensions"].get(EXTENSION)
    if takeover is None:
        _warn_once("the internals of the installed Hypercorn are not as expected")
        return False
    if takeover.passed_by:
        _warn_once("Hypercorn had already read from the connection")
        return False
    takeover.take(protocol)
    return True


async def _handle(stream: WSStream, event: Event) -> None:
    takeover = stream.task_group
    if isinstance(event, Request):
        server = _server_of(stream)
        if server is not None:
            stream.task_group = cast(Any, Takeover(stream, server))
    elif isinstance(event, Data) and isinstance(takeover, Takeover):
        takeover.pass_by()
    await hypercorn_port.handle(stream, event)


def _server_of(stream: WSStream) -> TCPServer | None:
    """Return the server whose connection carries this stream alone; None if the internals are not as expected."""
    protocol = getattr(stream.send, "__self__", None)
    server = getattr(protocol.send, "__self__", None) if type(protocol) is H11Protocol else None
    if not isinstance(server, TCPServer):
        return None
    reader = getattr(server, "reader", None)
    is_as_known = isinstance(getattr(reader, "_buffer", None), bytearray) and hasattr(server.writer, "transport")
    return server if is_as_known else None


def _warn_once(why: str) -> None:
    if why not in _warned:
        _warned.add(why)
        log.warning("A media stream is served on the ordinary path, at several times the cost: %s", why)
