"""A proxy that only connects (CONNECT, RFC 9110 section 9.3.6), in a thread: the only way out of a closed network.

It knows names that nobody else knows, may want a user and a password, and notes where it was asked to connect to.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
START_TIMEOUT = 10.0


class ConnectProxy:
    """The proxy; it works while its context lasts.

    ``names``: the address of each host name that it knows; others are refused with 502. ``user``: ``NAME:PASSWORD``.
    """

    def __init__(self, names: Mapping[str, str] | None = None, *, user: str = "", refuses: int = 0) -> None:
        self._names = dict(names or {LOOPBACK: LOOPBACK})
        self._user, self._refuses = user, refuses
        self.port = 0
        self.asked: list[str] = []
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    @property
    def url(self) -> str:
        """Its URL, with user and password, as in HTTPS_PROXY."""
        return f"http://{self._user}{'@' if self._user else ''}{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(START_TIMEOUT), "the test's proxy did not start"
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._client, LOOPBACK, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._stop.wait()
        server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError):
                await self._answer(reader, writer)
        finally:
            writer.transport.abort()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        host, _, port = target.rpartition(":")
        self.asked.append(target)
        if method != "CONNECT":
            return await _refuse(writer, "405 Method Not Allowed")
        if self._user and f"Basic {base64.b64encode(self._user.encode()).decode()}" not in "\n".join(head):
            return await _refuse(writer, "407 Proxy Authentication Required")
        if self._refuses or host not in self._names:
            return await _refuse(writer, f"{self._refuses or 502} Refused")
        behind_reader, behind_writer = await asyncio.open_connection(self._names[host], int(port))
        try:
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            await asyncio.gather(_pass_on(reader, behind_writer), _pass_on(behind_reader, writer))
        finally:
            behind_writer.transport.abort()


async def _refuse(writer: asyncio.StreamWriter, status: str) -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    writer.write_eof()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
        writer.write_eof()
