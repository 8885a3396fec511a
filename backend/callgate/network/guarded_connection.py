"""Guards the connections of tools' requests: none is made to an address that is not permitted."""

from __future__ import annotations

import asyncio
import functools
import socket
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler

from callgate.core.gate.egress import Egress
from callgate.core.units import HOURS

from .lookups import AddressInfo, Lookups

PRIVATE_ADDRESS: Final = "its server has a private address (HTTP_TOOLS_ALLOW lists those that may be asked)"

KEEP_FOR: Final = 1 * HOURS  # how long the addresses of a tool's name are kept while it can't be resolved
MOST_RECEIVED: Final = 32 * 1024  # bytes per connection: the response, its headers, and its framing


class ToolNames(AbstractResolver):
    """Resolves the names of tools' servers for `aiohttp`."""

    def __init__(self) -> None:
        self._lookups = Lookups(keep_for=KEEP_FOR, believes_missing=True, flags=socket.AI_ADDRCONFIG)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises `OSError`."""
        found = await self._lookups.find(host, port)
        return [_result(host, info) for info in found if family in (socket.AF_UNSPEC, info[0])]

    async def close(self) -> None:
        """Do nothing: nothing is held open."""


def _result(host: str, info: AddressInfo) -> ResolveResult:
    family, _, protocol, _, address = info
    numeric, port, *more = address
    if more and more[-1]:  # the scope that a link-local address belongs to
        numeric = f"{numeric}%{more[-1]}"
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=str(numeric), port=int(port), family=family, proto=protocol, flags=flags)


class Guard(AbstractResolver):
    """Checks the addresses of one request, as the resolver and the socket factory of an `aiohttp.TCPConnector`.

    If any address of a name is refused, the name is. A socket is created for the very address that it is connected to
    next, so an address that was not resolved here (one in the URL), or that differs the second time, does not get
    through either.
    """

    def __init__(self, host: str, port: int, egress: Egress, resolver: AbstractResolver) -> None:
        self._host = host
        self._port = port
        self._egress = egress
        self._resolver = resolver
        self.refusal: str | None = None  # why the request may not be made, once that is known

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of a name. Raises `PermissionError`."""
        found = await self._resolver.resolve(host, port, family)
        for answer in found:
            self._check(answer["host"])
        return found

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """Create a socket for this address. Raises `PermissionError`."""
        family, kind, protocol, _, address = info
        self._check(address[0])
        return socket.socket(family, kind, protocol)

    def _check(self, address: str) -> None:
        if not self._egress.permits(self._host, self._port, address):
            self.refusal = PRIVATE_ADDRESS
            raise PermissionError(PRIVATE_ADDRESS)

    async def close(self) -> None:
        """Do nothing: the resolver is shared, and not the guard's to close."""


class GuardedConnector(aiohttp.TCPConnector):
    """Makes the connections of one request, which are checked by `Guard`, and read up to `MOST_RECEIVED`.

    What a server sends is parsed in the event loop, and `aiohttp` limits the size of a message, but not the number of
    messages: a server that keeps sending "100 Continue" would hold up every call.
    """

    def __init__(self, guard: Guard, **options: Any) -> None:
        super().__init__(
            resolver=guard,
            socket_factory=guard.open_socket,
            use_dns_cache=False,  # abandoning a look-up ends it
            force_close=True,
            **options,
        )
        # aiohttp provides this hook, though not under a public name.
        self._factory = functools.partial(_Bounded, loop=asyncio.get_running_loop())  # type: ignore[assignment]


class _Bounded(ResponseHandler):
    """Ends a connection once enough was read from it. What was read before is still delivered."""

    _left = MOST_RECEIVED

    def data_received(self, data: bytes) -> None:
        taken, self._left = data[: self._left], max(0, self._left - len(data))
        if taken:
            super().data_received(taken)
        if not self._left and self.transport is not None:
            self.transport.abort()
