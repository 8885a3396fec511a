"""How the doctor asks: one HTTP request, to an address of choice, and why there was no answer."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from callgate import __version__
from callgate.errors import CallgateError
from callgate.peers.phone.http import Response, tls_reason
from callgate.peers.phone.options import Address

from .world import World

SECONDS: Final = 1.0
CONNECT_TIMEOUT: Final = 5 * SECONDS
TIMEOUT: Final = 10 * SECONDS
CLOSE_TIMEOUT: Final = 1 * SECONDS
LONGEST_ANSWER: Final = 1024 * 1024  # bytes
USER_AGENT: Final = f"callgate-doctor/{__version__}"
NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Unreachable(CallgateError):
    """There was no answer; the text says why. ``no_route``: this machine has no way there at all."""

    def __init__(self, why: str, *, no_route: bool = False) -> None:
        super().__init__(why)
        self.no_route = no_route


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. ``headers`` by lower-case name."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


async def open_port(address: Address) -> None:
    """Open a TCP connection, and close it. Raises `Unreachable`."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(*address)
    except TimeoutError:
        raise Unreachable(f"nothing answers within {CONNECT_TIMEOUT:.0f} s") from None
    except OSError as exc:
        raise Unreachable(_reason(exc), no_route=exc.errno in NO_ROUTE) from exc
    writer.transport.abort()


async def ask(
    world: World,
    method: str,
    url: str,
    *,
    at: Address | None = None,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Answer:
    """One request, of which no redirect is followed. ``at``: where it goes instead of the URL's host.

    ``tls`` judges the certificate; by default whom ``world`` trusts. Raises `Unreachable`.
    """
    connector = aiohttp.TCPConnector(
        ssl=world.trust() if tls is None else tls, resolver=_Resolver(world, at), force_close=True, use_dns_cache=False
    )
    loop = asyncio.get_running_loop()
    began = loop.time()
    gone: asyncio.Future[None] | None = None
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
                response_class=Response,
            ) as session,
            session.request(method, url, headers=headers, data=form, params=params, allow_redirects=False) as response,
        ):
            assert isinstance(response, Response)
            gone = response.gone
            body = await response.content.read(LONGEST_ANSWER)
            while len(body) < LONGEST_ANSWER and (more := await response.content.read(LONGEST_ANSWER)):
                body += more
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, found, body, loop.time() - began)
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise Unreachable(_why(exc)) from exc
    finally:
        if gone is not None:  # aiohttp does not wait for a connection to be closed
            await asyncio.wait({gone}, timeout=CLOSE_TIMEOUT)


class _Resolver(AbstractResolver):
    """Sends each connection where it was told to go, and lets the system find the rest."""

    def __init__(self, world: World, at: Address | None) -> None:
        self._world, self._at = world, at

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        target = self._at or self._world.route(host, port)
        found = await asyncio.get_running_loop().getaddrinfo(*target, type=socket.SOCK_STREAM)
        return [
            ResolveResult(
                hostname=host, host=str(sockaddr[0]), port=int(sockaddr[1]), family=kind, proto=proto, flags=0
            )
            for kind, _, proto, _, sockaddr in found
        ]

    async def close(self) -> None: ...


def _why(exc: Exception) -> str:
    match exc:
        case aiohttp.ClientConnectorCertificateError(certificate_error=error):
            return f"its certificate is not good: {tls_reason(error)}"
        case aiohttp.ClientConnectorDNSError():
            return "its name can't be resolved here"
        case aiohttp.ClientConnectorSSLError(os_error=error):
            return f"the TLS handshake failed: {tls_reason(error)}"
        case aiohttp.ClientConnectorError(os_error=error):
            return _reason(error)
        case TimeoutError():
            return "it does not answer in time"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection without an answer"
    return str(exc) or type(exc).__name__


def _reason(exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return "its name can't be resolved here"
    return os.strerror(exc.errno).lower() if exc.errno else str(exc)
