"""The HTTP requests of the operator's commands: one at a time, with a deadline, and a reason if there is no answer."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from callgate import __version__
from callgate.core.units import SECONDS
from callgate.errors import CallgateError
from callgate.peers.phone.http import Response, tls_reason
from callgate.peers.phone.options import Address

CONNECT_TIMEOUT: Final = 5 * SECONDS
TIMEOUT: Final = 10 * SECONDS
CLOSE_TIMEOUT: Final = 1 * SECONDS
LONGEST_ANSWER: Final = 1024 * 1024  # bytes; the rest is not read
USER_AGENT: Final = f"callgate/{__version__}"
NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class UnreachableError(CallgateError):
    """There was no answer; the text says why. ``no_route``: this machine has no route there. ``sent``: the request may
    have arrived and been carried out."""

    def __init__(self, why: str, *, no_route: bool = False, sent: bool = False) -> None:
        super().__init__(why)
        self.no_route, self.sent = no_route, sent


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response. ``headers`` by lower-case name; ``seconds``: how long it took."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0

    @property
    def document(self) -> dict[str, Any] | None:
        """The JSON object in the body, or None if the body is anything else."""
        try:
            document = json.loads(self.body)
        except ValueError:
            return None
        return document if isinstance(document, dict) else None


async def open_port(address: Address) -> None:
    """Open a TCP connection, and close it. Raises `UnreachableError`."""
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT):
            _, writer = await asyncio.open_connection(*address)
    except TimeoutError:
        raise UnreachableError(f"nothing answers within {CONNECT_TIMEOUT:.0f} s") from None
    except OSError as exc:
        raise UnreachableError(_reason(exc), no_route=exc.errno in NO_ROUTE) from exc
    writer.transport.abort()


async def ask(
    method: str,
    url: str,
    *,
    at: Address | None = None,
    route: Callable[[str, int], Address] = Address,
    tls: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, Any] | None = None,
    document: object = None,
    params: Mapping[str, Any] | None = None,
    timeout: float = TIMEOUT,
    proxies: bool = False,
) -> Answer:
    """Make one request, without following redirects, so that its secrets go nowhere else. Raises `UnreachableError`.

    ``at``: the address to connect to, instead of the URL's host; ``route`` maps any host and port to such an address.
    ``tls`` verifies the certificate; by default, the system's CAs are trusted. The body is a ``form``, or a
    ``document`` as JSON. ``timeout`` bounds the whole request, in seconds. ``proxies``: use the environment's proxies.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    gone: asyncio.Future[None] | None = None
    connector = aiohttp.TCPConnector(
        ssl=True if tls is None else tls, resolver=_Resolver(route, at), force_close=True, use_dns_cache=False
    )
    try:
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=CONNECT_TIMEOUT),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
                response_class=Response,
                trust_env=proxies,
            ) as session,
            session.request(
                method, url, headers=headers, data=form, json=document, params=params, allow_redirects=False
            ) as response,
        ):
            assert isinstance(response, Response)
            gone = response.gone
            body = await response.content.read(LONGEST_ANSWER)
            while len(body) < LONGEST_ANSWER and (more := await response.content.read(LONGEST_ANSWER)):
                body += more
            found = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, body[:LONGEST_ANSWER], found, loop.time() - began)
    except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL) as exc:
        raise UnreachableError(_why(exc, timeout)) from exc
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        raise UnreachableError(_why(exc, timeout), sent=True) from exc
    finally:
        if gone is not None:  # aiohttp does not wait until a connection is closed
            await asyncio.wait({gone}, timeout=CLOSE_TIMEOUT)


class _Resolver(AbstractResolver):
    """Directs each connection to its ``at`` or ``route`` address, and has the system resolve that."""

    def __init__(self, route: Callable[[str, int], Address], at: Address | None) -> None:
        self._route, self._at = route, at

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        target = self._at or self._route(host, port)
        found = await asyncio.get_running_loop().getaddrinfo(*target, type=socket.SOCK_STREAM)
        return [
            ResolveResult(
                hostname=host, host=str(sockaddr[0]), port=int(sockaddr[1]), family=kind, proto=proto, flags=0
            )
            for kind, _, proto, _, sockaddr in found
        ]

    async def close(self) -> None: ...


def _why(exc: Exception, timeout: float) -> str:
    match exc:
        case aiohttp.ClientConnectorCertificateError(certificate_error=error):
            return f"its certificate is not valid: {tls_reason(error)}"
        case aiohttp.ClientConnectorDNSError():
            return "its name can't be resolved here"
        case aiohttp.ClientConnectorSSLError(os_error=error):
            return f"the TLS handshake failed: {tls_reason(error)}"
        case aiohttp.ClientConnectorError(os_error=error):
            return _reason(error)
        case aiohttp.ConnectionTimeoutError():
            return f"it does not accept a connection within {CONNECT_TIMEOUT:.0f} s"
        case TimeoutError():
            return f"it does not answer within {timeout:.0f} s"
        case aiohttp.ServerDisconnectedError():
            return "it closed the connection without an answer"
    return str(exc) or type(exc).__name__


def _reason(exc: OSError) -> str:
    if isinstance(exc, socket.gaierror):
        return "its name can't be resolved here"
    return os.strerror(exc.errno).lower() if exc.errno else str(exc)
