"""What stands between a tool's request and the network: no connection to an address that it may not have."""

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

KEEP_FOR: Final = 1 * HOURS  # the addresses of a tool's name, while it can't be looked up
MOST_RECEIVED: Final = 32 * 1024  # bytes of a connection: of the answer, its headers, and what frames them


class ToolNames(AbstractResolver):
    """Looks up the names of tools' servers, as `aiohttp` asks for them."""

    def __init__(self) -> None:
        self._lookups = Lookups(keep_for=KEEP_FOR, believes_missing=True, flags=socket.AI_ADDRCONFIG)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises `OSError`."""
        found = await self._lookups.find(host, port)
        return [_result(host, info) for info in found if family in (socket.AF_UNSPEC, info[0])]

    async def close(self) -> None:
        """Nothing is held open."""


def _result(host: str, info: AddressInfo) -> ResolveResult:
    family, _, protocol, _, address = info
    numeric, port, *more = address
    if more and more[-1]:  # which of our networks an address of the link is in
        numeric = f"{numeric}%{more[-1]}"
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=str(numeric), port=int(port), family=family, proto=protocol, flags=flags)


class Guard(AbstractResolver):
    """Checks the addresses of one request, as a resolver and as what makes the sockets of an `aiohttp.TCPConnector`.

    A name of which any address is refused is refused as a whole. The socket is made for the very address that it is
    connected to next, so what was not resolved here (an address in the URL) or is answered otherwise the second time
    does not get past it either.
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
        """The addresses of a name. Raises `PermissionError`."""
        found = await self._resolver.resolve(host, port, family)
        for answer in found:
            self._check(answer["host"])
        return found

    def open_socket(self, info: AddressInfo) -> socket.socket:
        """A socket for this address. Raises `PermissionError`."""
        family, kind, protocol, _, address = info
        self._check(address[0])
        return socket.socket(family, kind, protocol)

    def _check(self, address: str) -> None:
        if not self._egress.permits(self._host, self._port, address):
            self.refusal = PRIVATE_ADDRESS
            raise PermissionError(PRIVATE_ADDRESS)

    async def close(self) -> None:
        """Nothing is held: the resolver that is asked is not the guard's."""


class GuardedConnector(aiohttp.TCPConnector):
    """Makes the connections of one request, which `Guard` checks, and of which no more than `MOST_RECEIVED` is read.

    Whatever a server sends is parsed in the event loop, and `aiohttp` bounds what is in a message, not how many there
    are: one that goes on saying "100 Continue" would hold up every call.
    """

    def __init__(self, guard: Guard, **options: Any) -> None:
        super().__init__(
            resolver=guard,
            socket_factory=guard.open_socket,
            use_dns_cache=False,  # a look-up that is given up is over then
            force_close=True,
            **options,
        )
        # The seam that `aiohttp` has for it, if not by a public name.
        self._factory = functools.partial(_Bounded, loop=asyncio.get_running_loop())  # type: ignore[assignment]


class _Bounded(ResponseHandler):
    """Ends a connection of which enough is read. What was read before can still be taken."""

    _left = MOST_RECEIVED

    def data_received(self, data: bytes) -> None:
        taken, self._left = data[: self._left], max(0, self._left - len(data))
        if taken:
            super().data_received(taken)
        if not self._left and self.transport is not None:
            self.transport.abort()
