"""How the set-up reaches the outside world: HTTP, DNS, Twilio's client. Tests replace it."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from twilio.http import HttpClient
from twilio.http.http_client import TwilioHttpClient

from callgate.core.units import SECONDS
from callgate.operator.ask import Answer, UnreachableError, ask

TWILIO_DEADLINE: Final = 10 * SECONDS
HTTP_DEADLINE: Final = 20 * SECONDS
HTTP_PORT: Final = 80

Fetch = Callable[[str, str, Mapping[str, str]], Answer]


def fetch(method: str, url: str, headers: Mapping[str, str]) -> Answer:
    """Request a URL, through the environment's proxy if there is one. Raises `UnreachableError`."""
    return asyncio.run(ask(method, url, headers=headers, timeout=HTTP_DEADLINE, proxies=True))


def addresses(name: str) -> list[str]:
    """Return a host name's addresses. The system's resolver has its own timeout. Raises `UnreachableError`."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise UnreachableError(str(exc.strerror or exc)) from exc
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_here(address: str) -> bool:
    """Whether an interface of this machine has the address, that is, whether a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def leads_here(name: str, port: int = HTTP_PORT) -> bool | None:
    """Whether an HTTP request for the name reaches this machine; None if that can't be determined.

    For a moment, this function listens on the port and requests its own answer. That is not possible if the port is
    taken (the bundle is already running) or needs another user. Silence proves nothing (a firewall, a router without
    hairpin NAT), nor does a redirect or a server error (a proxy in between, whose server is not running yet).
    """
    return asyncio.run(_leads_here(name, port))


async def _leads_here(name: str, port: int) -> bool | None:
    token = secrets.token_urlsafe(16)

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=token)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        found = await ask("GET", f"http://{name}:{port}/{token}", timeout=HTTP_DEADLINE)
    except (OSError, UnreachableError):
        return None
    finally:
        await runner.cleanup()
    if found.body == token.encode():
        return True
    return None if found.status // 100 in (3, 5) else False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """The outside world, as the set-up reaches it."""

    fetch: Fetch = fetch
    addresses: Callable[[str], list[str]] = addresses
    is_here: Callable[[str], bool] = is_here
    leads_here: Callable[[str], bool | None] = leads_here
    sleep: Callable[[float], None] = time.sleep
    twilio: HttpClient = field(default_factory=lambda: TwilioHttpClient(timeout=TWILIO_DEADLINE))
