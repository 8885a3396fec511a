"""TLS in front of a plain server, for peers that speak only TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

CLOSE_DEADLINE = 1.0  # seconds


@contextlib.asynccontextmanager
async def tls_front(address: str, tls: ssl.SSLContext) -> AsyncIterator[int]:
    """Forward TLS connections to ``HOST:PORT`` as plain TCP. Yield the front's port on loopback."""
    host, _, port = address.rpartition(":")
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        task.add_done_callback(serving.discard)
        behind_reader, behind_writer = await asyncio.open_connection(host, int(port))
        try:
            await asyncio.gather(_pass_on(reader, behind_writer), _pass_on(behind_reader, writer))
        finally:
            for one in (writer, behind_writer):
                await _close(one)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close the connection gracefully, or abort it if the peer does not answer."""
    writer.close()
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(CLOSE_DEADLINE):
            await writer.wait_closed()
    writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward data until one side closes, then close the other too, because TLS has no half-closed connections."""
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()
