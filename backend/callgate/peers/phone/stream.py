"""The socket of one Media Stream: connects, sends a frame every 20 ms, takes in what comes, and closes.

What is said and heard is decided in `line`; this module has the waits, the timeouts and Twilio's error codes.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from callgate.core.wire.media_stream import FRAME_SECONDS
from callgate.core.wire.media_stream_json import encode_to_app
from callgate.errors import PhoneError

from .http import USER_AGENT, tls_reason
from .options import Address, TwilioLimits
from .orders import Orders
from .simulation.codes import STREAM_CLOSED, STREAM_LOST
from .simulation.faults import Faults
from .simulation.line import Line
from .simulation.playback import BUFFER_OVERFLOW
from .simulation.report import CallError, StreamClose
from .simulation.timeline import mask_url

MAX_MESSAGE: Final = 8 * 2**20  # bytes: room for ten minutes of audio in base64, and the JSON around it
PROTOCOL_BROKEN: Final = 31924
UNDECODABLE: Final = 31950
_OUR_COMPLAINTS: Final = {1002: PROTOCOL_BROKEN, 1007: UNDECODABLE, 1009: BUFFER_OVERFLOW}


@dataclass(frozen=True, slots=True)
class Opened:
    """A stream's open socket, and how long each part of opening it took, in seconds."""

    connection: ClientConnection
    tcp_seconds: float
    tls_seconds: float
    upgrade_seconds: float


class _Connect(connect):
    """A client that follows no redirects, because Twilio does not follow them for an upgrade."""

    def process_redirect(self, exc: Exception) -> Exception:
        return exc


async def open_stream(
    url: str, signature: str | None, tls: ssl.SSLContext, limits: TwilioLimits, connect_to: Address | None = None
) -> Opened:
    """Connect and upgrade, as Twilio does. ``url`` has passed `twiml.check_stream_url`. Raises `PhoneError`."""
    loop = asyncio.get_running_loop()
    name = urlsplit(url).hostname or ""
    began = loop.time()
    sock = await _open_tcp(connect_to or Address(name, 443), limits.connect, mask_url(url))
    tcp_done = loop.time()
    tls_done: float | None = None

    class Timed(ClientConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            nonlocal tls_done
            tls_done = loop.time()
            super().connection_made(transport)

    try:
        connection = await _Connect(
            url,
            sock=sock,
            ssl=tls,
            server_hostname=name,
            additional_headers={} if signature is None else {"x-twilio-signature": signature},
            user_agent_header=USER_AGENT,
            compression=None,
            proxy=None,
            open_timeout=limits.upgrade,
            close_timeout=limits.close,
            ping_interval=None,
            max_size=MAX_MESSAGE,
            create_connection=Timed,
        )
    except (OSError, InvalidHandshake, InvalidURI, EOFError) as exc:
        raise _refusal(exc, mask_url(url), secured=tls_done is not None) from exc
    finally:
        if tls_done is None:
            sock.close()
    assert tls_done is not None
    return Opened(connection, tcp_done - began, tls_done - tcp_done, loop.time() - tls_done)


async def _open_tcp(address: Address, seconds: float, where: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            found = await loop.getaddrinfo(*address, type=socket.SOCK_STREAM)
            for family, kind, protocol, _, target in found[:-1]:
                with contextlib.suppress(OSError):
                    return await _connect_tcp(socket.socket(family, kind, protocol), target)
            family, kind, protocol, _, target = found[-1]
            return await _connect_tcp(socket.socket(family, kind, protocol), target)
    except TimeoutError as exc:
        raise PhoneError(31901, f"{where} did not accept the connection within {seconds:g} s") from exc
    except OSError as exc:
        raise PhoneError(31902, f"{where} can't be connected to: {exc.strerror or exc}") from exc


async def _connect_tcp(sock: socket.socket, target: tuple[object, ...]) -> socket.socket:
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, target)
    except BaseException:
        sock.close()
        raise
    return sock


def _refusal(exc: Exception, where: str, *, secured: bool) -> PhoneError:
    match exc:
        case TimeoutError():
            what = "the upgrade" if secured else "the TLS handshake"
            return PhoneError(31901, f"{where} did not finish {what} in time")
        case _ if not secured:
            return PhoneError(31910, f"the TLS handshake with {where} failed: {tls_reason(exc)}")
        case InvalidStatus(response=response):
            return PhoneError(31920, f"{where} answered the upgrade with status {response.status_code}, not 101")
    return PhoneError(31920, f"{where} did not answer the upgrade with a valid 101: {exc}")


class StreamRun:
    """An open stream, until it ends. ``clock`` returns the seconds since the call began, ``deadline`` is in the same
    seconds. The stream also ends when there are ``orders``."""

    def __init__(
        self,
        connection: ClientConnection,
        line: Line,
        faults: Faults,
        limits: TwilioLimits,
        clock: Callable[[], float],
        deadline: float,
        orders: Orders,
    ) -> None:
        self._connection = connection
        self._line = line
        self._faults = faults
        self._limits = limits
        self._clock = clock
        self._deadline = deadline
        self._orders = orders
        self._began = 0.0
        self._injections = sorted(faults.injections, key=lambda injection: injection.after)
        self.overran = False  # the call reached its deadline

    async def run(self) -> StreamClose:
        """Speak and listen until one side ends the stream. The socket is closed in any case."""
        reader = asyncio.create_task(self._read())
        try:
            with contextlib.suppress(ConnectionClosed):  # `_how_it_ended` finds out how it closed
                await self._speak(reader)
            if self._faults.drop_after is not None and not reader.done():
                self._connection.transport.abort()
                return self._end("caller", None, "dropped without a close frame")
            await self._close()
            return self._how_it_ended()
        finally:
            reader.cancel()
            self._connection.transport.abort()
            with contextlib.suppress(asyncio.CancelledError):
                await reader

    async def _read(self) -> None:
        limit = self._faults.stop_reading_after
        with contextlib.suppress(ConnectionClosed):
            while limit is None or self._clock() - self._began < limit:
                self._line.receive(await self._connection.recv(), self._clock())
            await self._connection.wait_closed()

    async def _speak(self, reader: asyncio.Task[None]) -> None:
        """Send the opening messages, and then a frame every 20 ms, on a schedule that does not drift."""
        loop = asyncio.get_running_loop()
        self._began = self._clock()
        connected, start = self._line.begin(self._began)
        await self._send(encode_to_app(connected))
        for _ in range(self._faults.starts):
            await self._send(encode_to_app(start))
        due = loop.time()
        while not reader.done() and not self._line.hung_up:
            due += FRAME_SECONDS
            await asyncio.sleep(max(0.0, due - loop.time()))
            if self._faults.drop_after is not None and self._clock() - self._began >= self._faults.drop_after:
                return
            if self._clock() >= self._deadline:
                self.overran = True
                await self._send(encode_to_app(self._line.hang_up()))
            elif self._orders.waiting:
                await self._send(encode_to_app(self._line.hang_up()))
            elif self._faults.starts:
                await self._say_next()

    async def _say_next(self) -> None:
        for message in self._line.tick(self._clock()):
            await self._send(encode_to_app(message))
        while self._injections and self._injections[0].after <= self._clock() - self._began:
            await self._send(self._injections.pop(0).frame_for(self._line.start.stream_sid))

    async def _send(self, frame: str | bytes) -> None:
        try:
            async with asyncio.timeout(self._limits.send):
                await self._connection.send(frame)
        except TimeoutError:
            self._line.error(CallError(PROTOCOL_BROKEN, "the app stopped reading from the stream", self._clock()))
            self._connection.transport.abort()

    async def _close(self) -> None:
        """Make the closing handshake. ``close_timeout`` bounds it, and it ends at once if the socket is lost."""
        await self._connection.close()

    def _how_it_ended(self) -> StreamClose:
        state = self._connection.protocol
        if self._line.hung_up:
            orderly = state.close_rcvd is not None
            return self._end("caller", 1000, "hung up" if orderly else "hung up; the app did not answer the close")
        if state.close_rcvd is not None and state.close_rcvd_then_sent is not False:
            close = state.close_rcvd
            self._note(STREAM_CLOSED, f"the app closed the stream with {close.code} {close.reason}".rstrip())
            return self._end("app", close.code, close.reason)
        if state.close_sent is not None and state.close_sent.code in _OUR_COMPLAINTS:
            close = state.close_sent
            self._note(
                _OUR_COMPLAINTS[close.code], f"the app broke the WebSocket protocol: {close.reason}".rstrip(": ")
            )
            return self._end("caller", close.code, close.reason)
        self._note(STREAM_LOST, "the stream's socket was lost without a close frame")
        return self._end("nobody", None, "lost")

    def _note(self, code: int, reason: str) -> None:
        self._line.error(CallError(code, reason, self._clock()))

    def _end(self, by: str, code: int | None, reason: str) -> StreamClose:
        return StreamClose(by, code, reason, self._clock(), self._line.start.stream_sid)
