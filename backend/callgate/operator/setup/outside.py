"""How the set-up reaches what is not this program: HTTP, DNS, Twilio's client. Tests bring their own."""

from __future__ import annotations

import asyncio
import secrets
import socket
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
    """Ask for a URL, through a proxy where the environment names one. Raises `UnreachableError`."""
    return asyncio.run(ask(method, url, headers=headers, timeout=HTTP_DEADLINE, proxies=True))


def addresses(name: str) -> list[str]:
    """The addresses of a host name. Its deadline is the system's resolver's own. Raises `UnreachableError`."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise UnreachableError(str(exc.strerror or exc)) from exc
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def is_here(address: str) -> bool:
    """Whether an interface of this machine has the address: only then can a socket be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def leads_here(name: str, port: int = HTTP_PORT) -> bool | None:
    """Whether who asks for the name over http reaches this machine; None where that can't be told.

    For a moment it is this function that answers. It can't where the port is taken (the bundle runs already), or needs
    another user; nothing is told by silence (a firewall, a router that does not lead back), nor by a redirect or a
    server error (a proxy in between, whose server is not there yet).
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
    """All of it."""

    fetch: Fetch = fetch
    addresses: Callable[[str], list[str]] = addresses
    is_here: Callable[[str], bool] = is_here
    leads_here: Callable[[str], bool | None] = leads_here
    twilio: HttpClient = field(default_factory=lambda: TwilioHttpClient(timeout=TWILIO_DEADLINE))
