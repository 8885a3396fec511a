"""What stands between a tool's request and the network: no connection to an address that it may not have."""

from __future__ import annotations

import socket
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from .egress import Egress

REFUSED: Final = "its server has a private address (HTTP_TOOLS_ALLOW lists those that may be asked)"

AddressInfo = tuple[int, int, int, str, tuple[str, int] | tuple[str, int, int, int]]  # as `socket.getaddrinfo` has it


class Guard(AbstractResolver):
    """Checks the addresses of one request, as a resolver and as what makes the sockets of an `aiohttp.TCPConnector`.

    A name of which any address is refused is refused as a whole. The socket is made for the very address that it is
    connected to next, so what was not resolved here (an address in the URL) or is answered otherwise the second time
    does not get past it either.
    """

    def __init__(self, host: str, port: int, egress: Egress, resolver: AbstractResolver | None = None) -> None:
        self._host = host
        self._port = port
        self._egress = egress
        self._resolver = resolver or ThreadedResolver()
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
            self.refusal = REFUSED
            raise PermissionError(REFUSED)

    async def close(self) -> None:
        """Nothing is held: the resolver that is asked is not the guard's."""
