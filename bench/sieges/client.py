"""Connections of an attacker's: raw bytes over TCP or TLS, from an address of its own, and no manners but on demand."""

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
    """Whom to connect to, from which address. ``name``: in the handshake; ``ca``: the file of whom to trust."""

    host: str
    port: int
    name: str
    ca: str
    source: str


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer: header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes


def why(error: BaseException) -> str:
    """In a word, how a connection ended."""
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
        """What was agreed on in the handshake (ALPN)."""
        tls = self.writer.get_extra_info("ssl_object")
        return None if tls is None else tls.selected_alpn_protocol()

    def send(self, data: bytes) -> None:
        """Write it, whether the peer takes it or not."""
        self.writer.write(data)

    async def answer(self, *, has_body: bool = True) -> Answer:
        """The next answer. Raises `OSError`, `EOFError`, `TimeoutError`; `ValueError` where it is no HTTP/1."""
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
        """What comes until the peer closes, or for `ANSWER_TIMEOUT`."""
        data = b""
        with contextlib.suppress(TimeoutError, OSError, ssl.SSLError):
            async with asyncio.timeout(ANSWER_TIMEOUT):
                while piece := await self.reader.read(PIECE):
                    data += piece
        self._look(data)
        return data

    def abort(self) -> None:
        """Let go of it, without a word."""
        self.writer.transport.abort()


class Client:
    """Opens connections. ``look`` is shown everything that is read."""

    def __init__(self, peer: Peer, look: Callable[[bytes], None]) -> None:
        self.peer = peer
        self._look = look
        self._tls: dict[Sequence[str], ssl.SSLContext] = {}

    def tls(self, *alpn: str) -> ssl.SSLContext:
        """The handshake's context, which offers these protocols."""
        if alpn not in self._tls:
            context = self._tls[alpn] = ssl.create_default_context(cafile=self.peer.ca)
            if alpn:
                context.set_alpn_protocols(alpn)
        return self._tls[alpn]

    @contextlib.asynccontextmanager
    async def connection(
        self, *, tls: bool = True, alpn: Sequence[str] = (), port: int | None = None
    ) -> AsyncIterator[Connection]:
        """A connection, while the context lasts."""
        connection = await self.connect(tls=tls, alpn=alpn, port=port)
        try:
            yield connection
        finally:
            connection.abort()

    async def connect(self, *, tls: bool = True, alpn: Sequence[str] = (), port: int | None = None) -> Connection:
        """A connection, which the caller aborts."""
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
        """A bare connected socket, which resets the connection when it is closed."""
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
        """What a TLS client says first."""
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        handshake = self.tls().wrap_bio(incoming, outgoing, server_hostname=self.peer.name)
        with contextlib.suppress(ssl.SSLWantReadError):
            handshake.do_handshake()
        return outgoing.read()


def post(path: str, name: str, body: bytes, *headers: str, kind: str = "application/x-www-form-urlencoded") -> bytes:
    """A POST, whole."""
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {name}",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(path: str, name: str, *headers: str, method: str = "GET", version: str = "1.1") -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", f"Host: {name}", *headers]).encode("latin1") + b"\r\n\r\n"
