"""TLS in front of one service, as nginx provides in production. A simulated phone's call can reach nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from callgate.core.units import SECONDS

LOOPBACK = "127.0.0.1"
CLOSE_TIMEOUT = 1 * SECONDS
PIECE = 64 * 1024  # bytes read at once


@contextlib.asynccontextmanager
async def front(backend: str, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Forward TLS connections to ``backend`` (``host:port``) as plain TCP. Yield the port."""
    host, _, port = backend.rpartition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.transport.abort()
            return
        pumps = [asyncio.create_task(_pump(reader, inner[1])), asyncio.create_task(_pump(inner[0], writer))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)  # when either side ends, close the other
        for pump in pumps:
            pump.cancel()
        await asyncio.wait(pumps)
        await asyncio.gather(_close(writer), _close(inner[1]))

    server = await asyncio.start_server(serve, LOOPBACK, 0, ssl=tls, ssl_shutdown_timeout=CLOSE_TIMEOUT)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(PIECE):
            writer.write(piece)
            await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_TIMEOUT):
            await writer.wait_closed()
    writer.transport.abort()
