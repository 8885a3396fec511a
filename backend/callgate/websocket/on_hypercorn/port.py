"""Hardens the backend's own port where Hypercorn leaves it open. `install` patches Hypercorn in this process.

- **A request for an upgrade that is not granted ends its connection.** Hypercorn reads what follows such a request as a
  WebSocket's bytes; a proxy that keeps the connection open would send another request there.
- **The length of a body is given in only one way** (RFC 9112 §6.1).
- **No HTTP/2 in cleartext**, neither by its preface nor by ``Upgrade: h2c``, which is ignored (RFC 9110 §7.8).
- **A WebSocket that stays with Hypercorn** (`asgi_stream`) has the limits of one that is taken over: an `Allowance`,
  one slice per turn of the event loop, no extensions. If it breaks the protocol, it is told so.
- **A peer that accepts nothing is disconnected**, and so is one that connects when there are too many.

Each dependency on Hypercorn's internals is named where it is used; `tests/app/test_port.py` fails if an update changes
them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final, cast

import h11
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, RawData
from hypercorn.events import Event as WireEvent
from hypercorn.protocol.events import Body, Data, EndBody, Event, Request, Response, StreamClosed
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WSStream
from wsproto.connection import ConnectionState
from wsproto.events import CloseConnection, Message, Ping

from callgate.core.units import SECONDS
from callgate.websocket.allowance import FRAMES_AT_ONCE, TWILIOS, Allowance, Pace

log = logging.getLogger(__name__)

WRITE_DEADLINE = 10 * SECONDS  # for a peer to accept anything, and to accept the last of it
LINGER = 0.5 * SECONDS  # time for a peer that sends too much to read that it does
CONNECTIONS = 4096  # at the same time, about 40 kB each
FILES = 16384  # that the process may open, if the limit can be raised that far
WARN_AGAIN = 60 * SECONDS

ALLOWANCE: Final = "callgate.websocket.allowance"  # key in a WebSocket scope's extensions
HTTP_VERSIONS = (b"1.0", b"1.1")
TWO_LENGTHS = {b"content-length", b"transfer-encoding"}  # which may be an attempt at request smuggling
VERSION_NOT_SUPPORTED, BAD_REQUEST = 505, 400
POLICY_VIOLATION, TOO_BIG = 1008, 1009

_hypercorns_handle = WSStream.handle
_hypercorns_create_stream = H11Protocol._create_stream
_hypercorns_stream_send = H11Protocol.stream_send
_hypercorns_protocol_send = TCPServer.protocol_send
_hypercorns_close = TCPServer._close
_hypercorns_run = TCPServer.run


class PortConfig(HypercornConfig):
    """Hypercorn's settings, and ours for the port."""

    stream_pace: Pace = TWILIOS  # for WebSockets that stay with Hypercorn
    connections: int | None = None  # at the same time; the default is `most_connections`


def most_connections() -> int:
    """Return how many connections are served at the same time: at most half of the files that the process may open, as
    a call has one connection here and one to its model."""
    return min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)


def raise_file_limit() -> None:
    """Raise the limit on open files to what `CONNECTIONS` needs, as far as the hard limit allows. With a service
    manager's usual limit of 1,024, strangers whom nginx keeps waiting could use it up."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def install() -> None:
    """Patch Hypercorn for all connections of this process. Calling it again changes nothing."""
    patched: Any = H11Protocol
    patched._check_protocol, patched._create_stream = _check_protocol, _create_stream
    patched.stream_send = _stream_send
    if WSStream.handle is _hypercorns_handle:  # otherwise `takeover` has been installed before ours
        WSStream.handle = handle  # type: ignore[method-assign, assignment]
    server: Any = TCPServer
    server.run, server.protocol_send, server._close = _run, _protocol_send, _close


# Requests.


async def _check_protocol(protocol: H11Protocol, request: h11.Request) -> None:
    """Replaces Hypercorn's switch to HTTP/2. Does nothing."""


async def _create_stream(protocol: H11Protocol, request: h11.Request) -> None:
    names = {name.lower() for name, _ in request.headers}
    refused = VERSION_NOT_SUPPORTED if request.http_version not in HTTP_VERSIONS else None
    if names >= TWO_LENGTHS or (b"upgrade" in names and not _has_plain_handshake(request)):
        refused = BAD_REQUEST
    if refused is not None:
        await protocol._send_error_response(refused)
        protocol.connection = cast(Any, _Deaf())
        await protocol.send(Closed())
        return
    cast(Any, protocol).asks_upgrade = b"upgrade" in names
    await _hypercorns_create_stream(protocol, request)


def _has_plain_handshake(request: h11.Request) -> bool:
    """Whether the headers of the upgrade are all ASCII, as they must be: wsproto assumes that they are."""
    return all(
        value.isascii()
        for name, value in request.headers
        if name.lower() in (b"connection", b"upgrade") or name.lower().startswith(b"sec-websocket-")
    )


class _Deaf:
    """Replaces h11's connection, and parses nothing more."""

    our_state = their_state = None
    they_are_waiting_for_100_continue = False

    def receive_data(self, data: bytes) -> None:
        pass

    def next_event(self) -> type[h11.NEED_DATA]:
        return h11.NEED_DATA


async def _stream_send(protocol: H11Protocol, event: Event) -> None:
    """Send a stream's event. The response to a request for an upgrade, unless it is 101, is the last on the
    connection."""
    refuses = isinstance(event, Response) and event.status_code >= 200 and cast(Any, protocol).asks_upgrade
    if refuses and isinstance(event, Response):
        event = replace(event, headers=[*_without(event.headers, b"connection"), (b"connection", b"close")])
    await _hypercorns_stream_send(protocol, event)
    if isinstance(event, EndBody) and isinstance(protocol.stream, WSStream):
        await protocol._maybe_recycle()  # for a WebSocket's connection, this only ever closes it


def _without(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> list[tuple[bytes, bytes]]:
    return [header for header in headers if header[0].lower() != name]


# WebSockets that stay with Hypercorn.


async def handle(stream: WSStream, event: Event) -> None:
    """Replaces `WSStream.handle`."""
    if isinstance(event, Request):
        # No extension is negotiated: a few kB of a compressed message can expand to as many MB.
        await _hypercorns_handle(stream, replace(event, headers=_without(event.headers, b"sec-websocket-extensions")))
        pace: Pace = getattr(stream.config, "stream_pace", TWILIOS)
        extensions = cast(dict[str, Any], stream.scope["extensions"])
        extensions[ALLOWANCE] = Allowance(pace, asyncio.get_running_loop().time)
    elif isinstance(event, Body | Data) and not stream.closed:
        if stream.handshake.accepted:
            await _take(stream, event.data)
        elif stream.state is ASGIWebsocketState.HANDSHAKE:  # the client may not send before it is answered
            await stream._send_error_response(BAD_REQUEST)
    else:
        await _hypercorns_handle(stream, event)


async def _take(stream: WSStream, data: bytes) -> None:
    """Handle received data as Hypercorn does, but in slices, within limits, and with a response to protocol errors."""
    connection = stream.connection
    if connection.state is ConnectionState.CLOSED:
        return
    allowance: Allowance = cast(dict[str, Any], stream.scope["extensions"])[ALLOWANCE]
    allowed = allowance.spend(0, len(data))
    connection.receive_data(data)
    for number, event in enumerate(connection.events(), 1):
        if not (allowed and allowance.spend(1, 0)):
            await _fail(stream, POLICY_VIOLATION, "more than is allowed")
            return
        if number % FRAMES_AT_ONCE == 0:
            await asyncio.sleep(0)
        if stream.closed:
            return
        if isinstance(event, Message):
            try:
                stream.buffer.extend(event)
            except FrameTooLargeError:
                await _fail(stream, TOO_BIG, "message too big")
                return
            if event.message_finished:
                assert stream.app_put is not None
                await stream.app_put(stream.buffer.to_message())
                stream.buffer.clear()
        elif isinstance(event, Ping):
            await stream._send_wsproto_event(event.response())
        elif isinstance(event, CloseConnection):
            if connection.state is ConnectionState.REMOTE_CLOSING:
                await stream._send_wsproto_event(event.response())
                await stream.send(StreamClosed(stream_id=stream.stream_id))
            else:  # it is the answer to our close, or the peer broke the protocol
                await _fail(stream, event.code, event.reason or "")
            return


async def _fail(stream: WSStream, code: int, reason: str) -> None:
    """Fail the connection (RFC 6455 §7.1.7)."""
    await stream._send_wsproto_event(CloseConnection(code=code, reason=reason))
    if code == POLICY_VIOLATION:
        await asyncio.sleep(LINGER)  # nothing is read meanwhile: what the peer still sends will reset the connection
    await stream.send(StreamClosed(stream_id=stream.stream_id))


# Connections.


async def _protocol_send(server: TCPServer, event: WireEvent) -> None:
    if not isinstance(event, RawData):
        await _hypercorns_protocol_send(server, event)
        return
    try:
        async with asyncio.timeout(WRITE_DEADLINE):
            await _hypercorns_protocol_send(server, event)
    except TimeoutError:
        cast(asyncio.Transport, server.writer.transport).abort()
    except OSError:  # the connection is gone; Hypercorn handles only ConnectionError, which ENOTCONN is not
        await server.protocol.handle(Closed())


async def _close(server: TCPServer) -> None:
    abort = cast(asyncio.Transport, server.writer.transport).abort
    giving_up = asyncio.get_running_loop().call_later(WRITE_DEADLINE, abort)
    try:
        with contextlib.suppress(OSError):  # as above: it is closed all the same
            await _hypercorns_close(server)
    finally:
        giving_up.cancel()


class _Crowd:
    """Counts the connections."""

    def __init__(self) -> None:
        self.live = 0
        self._warned = float("-inf")

    def grow(self) -> None:
        """Count one more connection."""
        self.live += 1

    def shrink(self) -> None:
        """Count one connection less."""
        self.live -= 1

    def warn(self, limit: int) -> None:
        """Log that there are too many connections, but not for each of them."""
        now = asyncio.get_running_loop().time()
        if now - self._warned >= WARN_AGAIN:
            self._warned = now
            log.warning(
                "Connections are being closed unanswered: there are %d already, the most that are served",
                limit,
            )


_crowd = _Crowd()


async def _run(server: TCPServer) -> None:
    limit: int = getattr(server.config, "connections", None) or most_connections()
    if _crowd.live >= limit:
        _crowd.warn(limit)
        cast(asyncio.Transport, server.writer.transport).abort()
        return
    _crowd.grow()
    try:
        await _hypercorns_run(server)
    finally:
        _crowd.shrink()
