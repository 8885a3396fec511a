"""Requests to the edge, and its answers. The host names in the handshake and in the request are independent here."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from anyio.from_thread import BlockingPortal, start_blocking_portal
from demo.local_edge import LOOPBACK, LocalEdge
from websockets.asyncio.client import ClientConnection, connect

TIMEOUT = 20.0
# A signature that nginx takes for Twilio's, because it can't check one.
SIGNED = {"X-Twilio-Signature": "A" * 27 + "="}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class FirstStart:
    """What the edge did before it had a certificate."""

    edge: LocalEdge
    workers: frozenset[int]
    challenge: Answer
    handshake: str


def ask(
    edge: LocalEdge,
    method: str,
    path: str,
    *,
    tls: bool = True,
    name: str | None = None,
    host: str | None = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    signed: bool = True,
) -> Answer:
    """Send one request and return its answer.

    ``name`` is the edge's name, by default its domain. ``host`` is for the Host header only, never for the handshake.
    """
    client = http.client.HTTPConnection(host or name or edge.domain, timeout=TIMEOUT)
    client.sock = edge.connect(name, timeout=TIMEOUT) if tls else plain(edge.http_port)
    try:
        client.request(method, path, body=body, headers={**(SIGNED if signed else {}), **(headers or {})})
        response = client.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        client.close()


def plain(port: int) -> socket.socket:
    return socket.create_connection((LOOPBACK, port), timeout=TIMEOUT)


def handshake(edge: LocalEdge, name: str | None, version: ssl.TLSVersion | None = None) -> ssl.SSLSocket:
    """Make a TLS handshake with any host name, or none, without verifying the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    return context.wrap_socket(plain(edge.https_port), server_hostname=name)


class Stream:
    """An open WebSocket with a blocking interface."""

    def __init__(self, portal: BlockingPortal, connection: ClientConnection) -> None:
        self._portal = portal
        self._connection = connection

    def send(self, text: str) -> None:
        self._portal.call(self._connection.send, text)

    def recv(self) -> str:
        return self._portal.call(self._receive)

    async def _receive(self) -> str:
        async with asyncio.timeout(TIMEOUT):
            return await self._connection.recv(decode=True)


@contextlib.contextmanager
def open_stream(edge: LocalEdge, path: str = "/media-stream/a-token", *, name: str | None = None) -> Iterator[Stream]:
    """Open a WebSocket through the edge, at its public URL.

    One thread both reads and writes the socket: Python protects a TLS socket from concurrent use only since 3.13, and
    before that a request that crossed with the server's session ticket could get lost.
    """
    opening = connect(
        f"wss://{name or edge.domain}{path}",
        sock=plain(edge.https_port),
        ssl=ssl.create_default_context(cafile=edge.ca_file),
        server_hostname=name or edge.domain,
        additional_headers=SIGNED,
        open_timeout=TIMEOUT,
        close_timeout=TIMEOUT,
        proxy=None,
    )
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(opening) as connection:
        yield Stream(portal, connection)


def assert_echoes(stream: Stream, text: str) -> None:
    stream.send(text)
    assert stream.recv() == text


def wait_for(what: Callable[[], bool]) -> None:
    """Wait until a condition holds. Fail if it does not in time."""
    deadline = time.monotonic() + TIMEOUT
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def workers(edge: LocalEdge) -> frozenset[int]:
    """Return the process IDs of nginx's workers. A reload starts new workers."""
    assert edge.nginx is not None
    pid = edge.nginx.pid
    return frozenset(int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
