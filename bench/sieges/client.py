"""An attacker's connections: raw bytes over TCP or TLS from its own address, well-behaved only on request."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from callgate.core.units import SECONDS

CONNECT_TIMEOUT = 5 * SECONDS
ANSWER_TIMEOUT = 8 * SECONDS
LONGEST_HEAD = 1 << 18  # bytes
LONGEST_BODY = 1 << 20
PIECE = 1 << 16


@dataclass(frozen=True, slots=True)
class Peer:
    """The address to connect to, and from. ``name`` is the TLS server name; ``ca`` is the file of trusted CAs."""

    host: str
    port: int
    name: str
    ca: str
    source: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def why(error: BaseException) -> str:
    """Describe in a word how a connection ended."""
    match error:
        case ConnectionResetError() | BrokenPipeError():
            return "reset"
        case asyncio.IncompleteReadError() | EOFError():
            return "closed"
        case TimeoutError():
            return "no answer"
        case ssl.SSLError():
            return "TLS refused"
        case ConnectionRefusedError():
            return "refused"
        case OSError():
            return f"error {error.errno}" if error.errno else "closed"
    return "no HTTP"


class Connection:
    """An open connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, look: Callable[[bytes], None]
    ) -> None:
        self.reader, self.writer = reader, writer
        self._look = look

    @property
    def protocol(self) -> str | None:
        """The protocol agreed on in the handshake (ALPN)."""
        tls = self.writer.get_extra_info("ssl_object")
        return None if tls is None else tls.selected_alpn_protocol()

    def send(self, data: bytes) -> None:
        """Write data without waiting for the peer to read it."""
        self.writer.write(data)

    async def answer(self, *, has_body: bool = True) -> Answer:
        """Return the next answer. Raises `OSError`, `EOFError` or `TimeoutError`, or `ValueError` if it is not
        HTTP/1."""
        async with asyncio.timeout(ANSWER_TIMEOUT):
            while (answer := await self._answer(has_body)).status == 100:
                pass
            return answer

    async def _answer(self, has_body: bool) -> Answer:
        head = await self.reader.readuntil(b"\r\n\r\n")
        self._look(head)
        version, _, rest = head.partition(b" ")
        if not version.startswith(b"HTTP/1"):
            raise ValueError("no HTTP/1")
        lines = rest.decode("latin1").split("\r\n")
        headers = {
            name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
        }
        status = int(lines[0][:3])
        body = b""
        if has_body and status not in (100, 101, 204, 304):
            body = await self._body(headers)
            self._look(body)
        return Answer(status, headers, body)

    async def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            body = b""
            while size := int((await self.reader.readline()).split(b";")[0], 16):
                body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()
            return body
        if "content-length" in headers:
            return await self.reader.readexactly(int(headers["content-length"]))
        return await self.reader.read(LONGEST_BODY)

    async def rest(self) -> bytes:
        """Return what arrives until the peer closes the connection, or for `ANSWER_TIMEOUT`."""
        data = b""
        with contextlib.suppress(TimeoutError, OSError, ssl.SSLError):
            async with asyncio.timeout(ANSWER_TIMEOUT):
                while piece := await self.reader.read(PIECE):
                    data += piece
        self._look(data)
        return data

    def abort(self) -> None:
        """Drop the connection without a closing handshake."""
        self.writer.transport.abort()


class Client:
    """Opens connections. ``look`` is called with everything that is read."""

    def __init__(self, peer: Peer, look: Callable[[bytes], None]) -> None:
        self.peer = peer
        self._look = look
        self._tls: dict[Sequence[str], ssl.SSLContext] = {}

    def tls(self, *alpn: str) -> ssl.SSLContext:
        """Return a client context that offers these protocols."""
        if alpn not in self._tls:
            context = self._tls[alpn] = ssl.create_default_context(cafile=self.peer.ca)
            if alpn:
                context.set_alpn_protocols(alpn)
        return self._tls[alpn]

    @contextlib.asynccontextmanager
    async def connection(
        self, *, tls: bool = True, alpn: Sequence[str] = (), port: int | None = None
    ) -> AsyncIterator[Connection]:
        """Open a connection that lasts as long as the context."""
        connection = await self.connect(tls=tls, alpn=alpn, port=port)
        try:
            yield connection
        finally:
            connection.abort()

    async def connect(self, *, tls: bool = True, alpn: Sequence[str] = (), port: int | None = None) -> Connection:
        """Open a connection, which the caller must abort."""
        peer = self.peer
        async with asyncio.timeout(CONNECT_TIMEOUT):
            reader, writer = await asyncio.open_connection(
                peer.host,
                port or peer.port,
                ssl=self.tls(*alpn) if tls else None,
                server_hostname=peer.name if tls else None,
                local_addr=(peer.source, 0),
                limit=LONGEST_HEAD,
            )
        return Connection(reader, writer, self._look)

    async def plain_socket(self, port: int | None = None) -> socket.socket:
        """Return a bare connected socket that resets the connection when closed."""
        bare = socket.socket()
        try:
            bare.setblocking(False)
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            bare.bind((self.peer.source, 0))
            async with asyncio.timeout(CONNECT_TIMEOUT):
                await asyncio.get_running_loop().sock_connect(bare, (self.peer.host, port or self.peer.port))
        except BaseException:
            bare.close()
            raise
        return bare

    def client_hello(self) -> bytes:
        """Return the first bytes that a TLS client sends."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        handshake = self.tls().wrap_bio(incoming, outgoing, server_hostname=self.peer.name)
        with contextlib.suppress(ssl.SSLWantReadError):
            handshake.do_handshake()
        return outgoing.read()


def post(path: str, name: str, body: bytes, *headers: str, kind: str = "application/x-www-form-urlencoded") -> bytes:
    """Return a complete POST request."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {name}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, name: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """Return a request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", f"Host: {name}", *headers]).encode("latin1") + b"\r\n\r\n"
