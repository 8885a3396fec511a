"""Many WebSockets held open through an edge, each of which counts what it sends and what comes back.

They work with any edge, on this machine or in a container, in front of any backend that echoes each text frame. The
backend may send one frame of its own first.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from callgate.core.units import SECONDS
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from support.edge.probes import SIGNED

OPEN_TIMEOUT: Final = 20 * SECONDS
ANSWER_TIMEOUT: Final = 20 * SECONDS
AT_ONCE: Final = 20  # concurrent handshakes; more would only measure this process

PREFIX: Final = "frame-"  # a frame without it is the backend's own, and is not counted


@dataclass(frozen=True, slots=True)
class Tally:
    """The totals over all sockets."""

    sockets: int
    dropped: int  # sockets closed by the other side
    sent: int
    lost: int  # frames that never came back, or came back out of order

    def __str__(self) -> str:
        return f"{self.sockets} sockets, {self.dropped} dropped; {self.sent} frames sent, {self.lost} lost"


@dataclass(slots=True)
class _Held:
    """One socket. The far end returns frames in order, so one number tells which have come back."""

    connection: ClientConnection
    sent: int = 0
    returned: int = 0
    disorder: int = 0
    dropped: bool = False
    progress: asyncio.Event = field(default_factory=asyncio.Event)

    async def receive(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for text in self.connection:
                if isinstance(text, str) and text.startswith(PREFIX):
                    self.disorder += text != f"{PREFIX}{self.returned}"
                    self.returned += 1
                    self.progress.set()
        self.dropped = True
        self.progress.set()

    async def send(self, interval: float) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.connection.send(f"{PREFIX}{self.sent}")
                self.sent += 1
                await asyncio.sleep(interval)

    async def settle(self) -> None:
        """Wait until everything sent has come back, or the socket is closed."""
        while self.returned < self.sent and not self.dropped:
            self.progress.clear()
            await self.progress.wait()


class HeldSockets:
    """Keep ``count`` sockets open through ``host``:``port`` while the context lasts.

    ``name`` is the edge's name (in the handshake and the request), and ``ca_file`` the CAs to trust. ``path`` returns
    each socket's path from its number. Each socket sends a numbered frame every ``interval`` seconds. Raises what
    `connect` raises if one can't be opened. A dropped socket is not reopened.
    """

    def __init__(
        self,
        count: int,
        *,
        host: str,
        port: int,
        name: str,
        ca_file: Path,
        path: Callable[[int], str] = "/media-stream/socket-{}".format,
        interval: float = 0.1 * SECONDS,
    ) -> None:
        self._count, self._host, self._port, self._name = count, host, port, name
        self._trust = ssl.create_default_context(cafile=ca_file)
        self._path, self._interval = path, interval
        self._held: list[_Held] = []
        self._senders: list[asyncio.Task[None]] = []
        self._receivers: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        slots = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as opening:
                for number in range(self._count):
                    opening.create_task(self._open(number, slots))
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close()

    @property
    def dropped(self) -> int:
        """The number of sockets that have been dropped."""
        return sum(held.dropped for held in self._held)

    async def stop(self) -> Tally:
        """Stop sending, wait for outstanding frames, and return the totals."""
        await _end(self._senders)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await asyncio.gather(*(held.settle() for held in self._held))
        return Tally(
            sockets=len(self._held),
            dropped=self.dropped,
            sent=sum(held.sent for held in self._held),
            lost=sum(held.sent - held.returned + held.disorder for held in self._held),
        )

    async def _open(self, number: int, slots: asyncio.Semaphore) -> None:
        async with slots:
            connection = await connect(
                f"wss://{self._name}{self._path(number)}",
                host=self._host,
                port=self._port,
                ssl=self._trust,
                server_hostname=self._name,
                additional_headers=SIGNED,
                open_timeout=OPEN_TIMEOUT,
                ping_interval=None,  # no traffic except the frames
                compression=None,
                proxy=None,
            )
        held = _Held(connection)
        self._held.append(held)
        self._receivers.append(asyncio.create_task(held.receive()))
        self._senders.append(asyncio.create_task(held.send(self._interval)))

    async def _close(self) -> None:
        await _end(self._senders)
        await _end(self._receivers)
        await asyncio.gather(*(held.connection.close() for held in self._held))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
