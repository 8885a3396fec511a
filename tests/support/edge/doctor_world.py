"""A good set-up entirely on loopback, which each test breaks in one respect.

It has nginx with a certificate from Pebble, the backend as its own process, a DNS server, and Twilio's REST API and
OpenAI's list of models, both under their real names with certificates of a test authority. ``callgate doctor`` sees it
through a `World` that routes every name and address there; all other addresses lead to a closed port.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from anyio.from_thread import start_blocking_portal
from callgate.core.gate.signature import edge_proof
from callgate.operator.doctor.checks import examine
from callgate.operator.doctor.report import Examination
from callgate.operator.doctor.world import World
from callgate.peers.phone.options import Address
from demo.local_edge import LOOPBACK, LocalEdge, free_ports
from demo.local_program import Program, clean_environ

from support.edge.pairs import Authority, Pair
from support.twilio_rest import HOSTS, FakeTwilioRest, tls_for_hosts

ACCOUNT = "AC" + "1" * 32
AUTH_TOKEN = "the-auth-token-of-this-account"
API_KEY = "sk-the-key-of-this-project"
NUMBER = "+15551230009"
MODEL = "gpt-realtime-2.1"
PUBLIC = "11.22.33.44"  # the address in DNS; no packet ever goes there
PUBLIC_V6 = "2600::1"
NOBODY = Address(LOOPBACK, 1)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeModels:
    """OpenAI's ``GET /v1/models/{id}``. ``models`` maps each ID to its other fields. ``refuse`` is a status and a
    code for every request; ``refuse_model`` has the same by model."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, object]] = {}
        self.refuse: tuple[int, str] | None = None
        self.refuse_model: dict[str, tuple[int, str]] = {}
        self.port = 0

    @contextlib.asynccontextmanager
    async def serving(self, tls: ssl.SSLContext) -> AsyncIterator[FakeModels]:
        async with serving(self._answer, tls) as self.port:
            yield self

    async def _answer(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return _refusal(401, "invalid_api_key")
        if self.refuse is not None:
            return _refusal(*self.refuse)
        name = request.path.removeprefix("/v1/models/")
        if name in self.refuse_model:
            return _refusal(*self.refuse_model[name])
        if name not in self.models:
            return _refusal(404, "model_not_found")
        return web.json_response({"id": name, "object": "model", **self.models[name]})


def _refusal(status: int, code: str) -> web.Response:
    return web.json_response({"error": {"message": "no", "type": "invalid_request_error", "code": code}}, status=status)


@contextlib.asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None) -> AsyncIterator[int]:
    """Serve everything with one handler, and yield the port."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, LOOPBACK, 0, ssl_context=tls).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def server_context(pair: Pair, folder: Path) -> ssl.SSLContext:
    """Return the TLS context of a server with this certificate."""
    pair.write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
    return context


def webhooks(base_url: str) -> dict[str, str]:
    """Return the webhooks of a number that leads to this address."""
    return {
        "voice_url": f"{base_url}/incoming-call?proof={edge_proof(AUTH_TOKEN)}#rc=2",
        "voice_fallback_url": f"{base_url}/call-interrupted",
        "status_callback": f"{base_url}/call-status",
    }


@contextlib.contextmanager
def backend(folder: Path, **settings: str) -> Iterator[int]:
    """Run ``callgate serve`` as its own process, and yield its port."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    environ = {**clean_environ(), "PORT": str(port), "DATA_DIR": str(folder / "data"), **settings}
    log = folder / "backend.log"
    # In a folder without an .env file.
    argv = [
        sys.executable,
        "-c",
        f"import os; os.chdir({str(folder)!r}); from callgate.__main__ import main; main(['serve'])",
    ]
    program = Program("backend", argv, environ=environ, stdout=log, stderr=log)
    try:
        program.wait_until(lambda: _is_healthy(port))
        yield port
    finally:
        program.stop()


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/healthz", timeout=5.0) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@dataclass
class Good:
    """The parts of the good set-up."""

    edge: LocalEdge
    backend_port: int
    twilio: FakeTwilioRest
    openai: FakeModels
    authority: Authority  # trusted by the doctor, along with Pebble's
    ca: Path
    folder: Path

    @property
    def values(self) -> dict[str, str]:
        return {
            "DOMAIN": self.edge.domain,
            "PORT": str(self.backend_port),
            "DATA_DIR": str(self.folder / "data"),
            "TWILIO_ACCOUNT_SID": ACCOUNT,
            "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
            "TWILIO_PHONE_NUMBER": NUMBER,
            "TEST_CALL_TO": "+15551230077",
            "OPENAI_API_KEY": API_KEY,
        }

    @property
    def routes(self) -> dict[tuple[str, int], Address]:
        twilio, openai = Address(LOOPBACK, self.twilio.port), Address(LOOPBACK, self.openai.port)
        return {
            (PUBLIC, 443): Address(LOOPBACK, self.edge.https_port),
            (PUBLIC, 80): Address(LOOPBACK, self.edge.http_port),
            **{(host, 443): twilio for host in HOSTS},
            ("api.openai.com", 443): openai,
        }

    def reset(self) -> None:
        """Restore what Twilio, OpenAI and DNS answered at the start."""
        base = f"https://{self.edge.domain}"
        self.twilio.refuse, self.twilio.alerts = None, []
        self.twilio.countries = {"United States": ("+1", True), "Canada": ("+1", False), "Germany": ("+49", False)}
        self.twilio.account = {"status": "active", "type": "Full"}
        self.twilio.numbers, self.twilio.without_voice = [NUMBER], set()
        self.twilio.webhooks = {NUMBER: webhooks(base)}
        self.openai.refuse, self.openai.refuse_model, self.openai.models = None, {}, {MODEL: {}}
        for record in ("a", "aaaa", "caa", "servfail"):
            self.tell_dns(f"clear-{record}")
        self.tell_dns("set-default-ipv4", ip="")
        self.tell_dns("add-a", addresses=[PUBLIC])

    def tell_dns(self, call: str, **values: object) -> None:
        """Make pebble-challtestsrv answer differently about this domain, through its management API."""
        body = json.dumps({"host": self.edge.domain, **values}).encode()
        with urllib.request.urlopen(f"{self.edge.dns_management}/{call}", data=body, timeout=5.0) as answer:
            answer.read()


@contextlib.contextmanager
def good_set_up(folder: Path) -> Iterator[Good]:
    """Start everything. It ends with the context."""
    with contextlib.ExitStack() as stack:
        edge = stack.enter_context(LocalEdge())
        settings = {"DOMAIN": edge.domain, "TWILIO_AUTH_TOKEN": AUTH_TOKEN}
        port = stack.enter_context(backend(folder, **settings))
        edge.start_nginx(port)
        edge.start_acme()
        edge.issue()
        authority = Authority("Authority of the vendors")
        ca = folder / "trusted.pem"
        ca.write_bytes(edge.ca_file.read_bytes() + authority.pem)

        def server(name: str) -> ssl.SSLContext:
            return server_context(authority.issue(name), folder / name)

        portal = stack.enter_context(start_blocking_portal())
        twilio = FakeTwilioRest(ACCOUNT, AUTH_TOKEN, NUMBER)
        stack.enter_context(portal.wrap_async_context_manager(twilio.serving(tls_for_hosts(server))))
        openai = FakeModels()
        stack.enter_context(portal.wrap_async_context_manager(openai.serving(server("api.openai.com"))))
        yield Good(edge, port, twilio, openai, authority, ca, folder)


@dataclass
class SetUp:
    """One test's set-up, which is good until the test breaks it. ``clock`` is how many seconds its clock is fast."""

    good: Good
    values: dict[str, str]
    routes: dict[tuple[str, int], Address]
    folder: Path
    clock: float = 0.0
    edge: Address | None = None
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def domain(self) -> str:
        return self.good.edge.domain

    async def examine(self, **options: Any) -> Examination:
        """Let the doctor examine it."""
        return await examine(self.values, self.world, **options)

    @property
    def world(self) -> World:
        """Return the outside world, all of it on loopback."""
        host, _, port = (self.good.edge.dns or "").rpartition(":")
        return World(
            nameserver=Address(host, int(port)),
            route=lambda host, port: self.routes.get((host, port), NOBODY),
            edge=self.edge,
            ca=self.good.ca,
            companies_ca=self.good.ca,
            now=lambda: time.time() + self.clock,
        )

    async def serve_tls(self, pair: Pair, *, chain: bytes | None = None, tls_1_2: bool = True) -> None:
        """Replace nginx on port 443 by a server with this certificate that sends nothing."""
        shown = pair if chain is None else Pair(chain, pair.privkey)
        context = server_context(shown, self.folder / "tls")
        if not tls_1_2:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
        server = await asyncio.start_server(_say_nothing, LOOPBACK, 0, ssl=context)
        self.stack.push_async_callback(_close, server)
        self.routes[(PUBLIC, 443)] = Address(LOOPBACK, server.sockets[0].getsockname()[1])

    async def serve_https(self, handler: Handler) -> None:
        """Replace nginx on port 443 by a server with a good certificate."""
        context = server_context(self.good.authority.issue(self.domain), self.folder / "https")
        port = await self.stack.enter_async_context(serving(handler, context))
        self.routes[(PUBLIC, 443)] = Address(LOOPBACK, port)

    async def serve_http(self, handler: Handler) -> None:
        """Replace nginx on port 80."""
        port = await self.stack.enter_async_context(serving(handler, None))
        self.routes[(PUBLIC, 80)] = Address(LOOPBACK, port)

    def backend(self, **settings: str) -> int:
        """Run another backend, behind its own nginx with the same certificate, and return its port."""
        settings = {"DOMAIN": self.domain, "TWILIO_AUTH_TOKEN": AUTH_TOKEN, **settings}
        port = self.stack.enter_context(backend(self.folder / "backend", **settings))
        self.values["PORT"] = str(port)
        self.nginx_before(port)
        return port

    def nginx_before(self, port: int, *, domain: str | None = None, pair: Pair | None = None) -> None:
        """Run an nginx that expects the backend at another port, or has another domain or certificate."""
        published = None if pair else self.good.edge.published
        edge = self.stack.enter_context(LocalEdge(domain or self.domain, published=published))
        if pair is not None:
            _publish(pair, edge)
        edge.start_nginx(port)
        self.routes[(PUBLIC, 443)] = Address(LOOPBACK, edge.https_port)
        self.routes[(PUBLIC, 80)] = Address(LOOPBACK, edge.http_port)


def _publish(pair: Pair, edge: LocalEdge) -> None:
    """Publish a pair as deploy/certbot/hooks/publish does, readable for any user that nginx's workers run as."""
    folder = edge.published / edge.domain
    pair.write(folder / "of-the-test")
    (folder / "of-the-test" / "privkey.pem").chmod(0o644)
    (folder / "current").symlink_to("of-the-test")


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        await reader.read()
    writer.close()


async def _close(server: asyncio.Server) -> None:
    server.close()
    await server.wait_closed()
