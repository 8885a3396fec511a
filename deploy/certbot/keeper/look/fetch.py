"""A minimal HTTP GET, straight to a chosen address, with limits on time and size."""

from __future__ import annotations

import asyncio
import http.client
import io
import socket
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

TIMEOUT: Final = 5.0
LONGEST_ANSWER: Final = 65536


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response."""

    status: int
    body: bytes


class _Received:
    """Stands in for the socket from which http.client reads a response."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


async def get(url: str, *, connect_to: str, timeout: float = TIMEOUT) -> Answer:
    """Fetch an http:// URL from the address ``connect_to``. No proxy is used.

    Raises OSError (including TimeoutError), or ValueError if the response is not HTTP. Redirects are not followed.
    """
    parts = urlsplit(url)
    async with asyncio.timeout(timeout):
        reader, writer = await asyncio.open_connection(connect_to, parts.port or 80)
        try:
            request = [f"GET {parts.path or '/'} HTTP/1.1", f"Host: {parts.netloc}", "User-Agent: callgate-keeper"]
            writer.write("\r\n".join([*request, "Accept: */*", "Connection: close", "", ""]).encode())
            received = b""
            while len(received) < LONGEST_ANSWER and (more := await reader.read(LONGEST_ANSWER)):
                received += more
        finally:
            writer.transport.abort()
    return _parse(received)


def _parse(received: bytes) -> Answer:
    response = http.client.HTTPResponse(cast("socket.socket", _Received(received)))
    try:
        response.begin()
        return Answer(response.status, response.read(LONGEST_ANSWER))
    except http.client.HTTPException as error:
        raise ValueError(f"the answer is not HTTP ({type(error).__name__})") from error
