"""An owner's server for HTTP tools to call: real TLS on loopback, with every bad habit a server can have."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from callgate.core.gate.egress import Egress
from callgate.core.tools.toolbox import HttpTool
from callgate.tools.http_tools import HttpTools

from support.phone_peer import Certificates

HOST = "api.example.test"
ANY_OBJECT = {"type": "object"}
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
FLOODS = {  # an answer's beginning, and its endless continuation
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
    "empty lines": (b"", b"\r\n" * 20),
    "headers": (b"HTTP/1.1 200 OK\r\n", b"X-A: b\r\n"),
    "one header": (b"HTTP/1.1 200 OK\r\nX-A: ", b"b" * 40),
    "a chunk's extension": (CHUNKED + b"1;", b"a" * 40),
    "tiny chunks": (CHUNKED, b"1\r\na\r\n"),
    "trailers": (CHUNKED + b"0\r\n", b"X-A: b\r\n"),
    "nothing of HTTP": (b"", b"\x00" * 40),
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the server received."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: dict[str, str]
    body: str


class FakeDns(AbstractResolver):
    """A resolver that returns one of the given answers per look-up, in order, and the last one from then on."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers) or [["127.0.0.1"]]
        self.asked: list[str] = []

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_UNSPEC) -> list[ResolveResult]:
        self.asked.append(host)
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [self._result(host, address, port) for address in addresses]

    def _result(self, host: str, address: str, port: int) -> ResolveResult:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=flags)

    async def close(self) -> None:
        """Do nothing, because there is nothing to close."""


@dataclass
class ToolServer:
    """A server. ``asked`` holds its requests, and ``arrived`` is set with the first. ``connections`` counts
    connections, whatever was sent on them. ``over`` is set when nobody waits for unfinished answers any more."""

    certificates: Certificates
    port: int = 0
    connections: int = 0
    asked: list[Asked] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    together: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(2))

    def tool(self, path: str = "/echo", **changes: Any) -> HttpTool:
        """Return a tool that calls this server."""
        given = {"url": f"https://{HOST}:{self.port}{path}", "parameters": ANY_OBJECT, "name": "look_up", **changes}
        return HttpTool(description="Looks it up.", **given)

    def tools(
        self, dns: AbstractResolver | None = None, *, allow: str | None = None, trusted: bool = True
    ) -> HttpTools:
        """Return a runner of tools to which the server's host is allowed, and that resolves it with ``dns``
        (loopback by default)."""
        egress = Egress.parse(f"{HOST}:{self.port}" if allow is None else allow)
        tls = ssl.create_default_context(cafile=self.certificates.ca if trusted else None)
        return HttpTools(egress, resolver=dns or FakeDns(), tls=tls)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.text()
        self.asked.append(Asked(request.method, request.path, [*request.query.items()], dict(request.headers), body))
        self.arrived.set()
        habit = getattr(self, f"_{request.path.strip('/')}")
        response: web.StreamResponse = await habit(request)
        return response

    async def _echo(self, request: web.BaseRequest) -> web.Response:
        return web.json_response({"found": "three parcels"})

    async def _headers(self, request: web.BaseRequest) -> web.Response:
        response = web.json_response(dict(request.headers), status=int(request.query.get("status", 200)))
        response.set_cookie("session", "another-caller's")
        return response

    async def _together(self, request: web.BaseRequest) -> web.Response:
        """Answer only once two requests are present at the same time."""
        await self.together.wait()
        return web.Response(text="both are here")

    async def _slow(self, request: web.BaseRequest) -> web.Response:
        await self.over.wait()
        return web.Response()

    async def _stalled(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        await response.write(b"it begins, and")
        await self.over.wait()
        return response

    async def _endless(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        while True:
            await response.write(b"and so on " * 100)

    async def _flooding(self, request: web.BaseRequest) -> web.StreamResponse:
        """Send a beginning, then one piece again and again, for as long as it is accepted."""
        transport = request.transport
        assert transport is not None
        transport.write(FLOODS[request.query["with"]][0])
        while not (transport.is_closing() or self.over.is_set()):
            transport.write(FLOODS[request.query["with"]][1] * 500)
            await asyncio.sleep(0.001)
        raise ConnectionResetError

    async def _typed(self, request: web.BaseRequest) -> web.Response:
        response = web.Response(body=b"xn--" + b"a9" * 4000)
        response.headers["Content-Type"] = request.query["type"]
        return response

    async def _broken(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/plain", "Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"it begins, and")
        assert request.transport is not None
        request.transport.abort()
        return response

    async def _missing(self, request: web.BaseRequest) -> web.Response:
        return web.Response(status=404, text="no such\n   parcel" + "!" * 1000)

    async def _picture(self, request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"\x89PNG", content_type="image/png")

    async def _compressed(self, request: web.BaseRequest) -> web.Response:
        return web.Response(body=b"\x1f\x8b", headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"})

    async def _nothing(self, request: web.BaseRequest) -> web.Response:
        return web.Response(status=204)

    async def _latin(self, request: web.BaseRequest) -> web.Response:
        return web.Response(body="Straße".encode("latin-1"), headers={"Content-Type": "text/plain; charset=latin-1"})

    async def _moved(self, request: web.BaseRequest) -> web.Response:
        return web.Response(status=302, headers={"Location": f"https://127.0.0.1:{self.port}/echo"})

    async def _dropped(self, request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()


@contextlib.asynccontextmanager
async def tool_server(directory: Path, *, name: str = HOST, **certificate: Any) -> AsyncIterator[ToolServer]:
    """Serve on a free port. ``name`` and ``certificate`` determine the certificate."""
    certificates = Certificates(directory)
    server = ToolServer(certificates)
    context = certificates.server(name, **certificate)

    def reached(*_: object) -> None:
        server.connections += 1

    context.sni_callback = reached
    runner = web.ServerRunner(web.Server(server.answer), shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    server.port = runner.addresses[0][1]
    try:
        yield server
    finally:
        server.over.set()
        await runner.cleanup()
        await asyncio.sleep(0)  # let the transports' last callbacks run
