"""The line check on a socket: a WebSocket server on loopback, with a `RealtimeServer` for each connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import secrets
from http import HTTPStatus
from types import TracebackType

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from . import clips
from .realtime.client_events import Event
from .realtime.protocol import RealtimeServer

PATH = "/v1/realtime"
MODEL = "line-check"  # the session's model; never the name of one of OpenAI's
MAX_SESSIONS = 1_000
MAX_MESSAGE_BYTES = 1 << 20
MAX_SESSION_SECONDS = 60 * 60  # as with the real service
OPEN_TIMEOUT = 5.0
SEND_TIMEOUT = 10.0
CLOSE_TIMEOUT = 1.0

logger = logging.getLogger(__name__)

# Operators care about calls, not about the loopback sockets that serve them.
_websocket_logger = logging.getLogger("websockets.linecheck")
_websocket_logger.setLevel(logging.WARNING)


class LineCheck:
    """The embedded realtime server.

    Usage: ``async with LineCheck() as line_check: connect(line_check.url)``. It listens on 127.0.0.1 only, and accepts
    any model name and any key, because no stranger can reach it. Leaving the block closes every session (1001).
    """

    def __init__(self, *, port: int = 0, max_sessions: int = MAX_SESSIONS) -> None:
        self._port = port
        self._max_sessions = max_sessions
        self._sessions = 0
        self._server: Server | None = None

    @property
    def url(self) -> str:
        """The URL that it listens on: ``ws://127.0.0.1:PORT/v1/realtime``."""
        if self._server is None:
            raise RuntimeError("the line check is not running: use `async with`")
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}{PATH}"

    @property
    def sessions(self) -> int:
        """The number of open sessions."""
        return self._sessions

    async def __aenter__(self) -> LineCheck:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            self._port,
            process_request=self._process_request,
            compression=None,  # audio in base64, over loopback
            logger=_websocket_logger,
            max_size=MAX_MESSAGE_BYTES,
            open_timeout=OPEN_TIMEOUT,
            close_timeout=CLOSE_TIMEOUT,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path.partition("?")[0] != PATH:
            return connection.respond(HTTPStatus.NOT_FOUND, f"The line check answers at {PATH} only.\n")
        if self._sessions >= self._max_sessions:
            logger.warning("Line check: refused a session because %d are open", self._sessions)
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "The line check can't open any more sessions.\n")
        return None

    async def _serve(self, connection: ServerConnection) -> None:
        self._sessions += 1
        try:
            with contextlib.suppress(ConnectionClosed):
                await _run(connection)
        except TimeoutError:
            logger.warning("Line check: a client stopped reading, so its session is dropped")
            connection.transport.abort()
        finally:
            self._sessions -= 1


async def _run(connection: ServerConnection) -> None:
    loop = asyncio.get_running_loop()
    name = secrets.token_hex(6)
    server = RealtimeServer(clips.answer, name=name, model=MODEL, transcribe=clips.describe)
    ends = loop.time() + MAX_SESSION_SECONDS
    logger.debug("Line check: session %s opened", name)
    await _send(connection, server.open(loop.time()))
    while loop.time() < ends:
        deadline = server.next_deadline
        try:
            async with asyncio.timeout_at(ends if deadline is None else min(deadline, ends)):
                frame = await connection.recv()
        except TimeoutError:
            events = server.tick(loop.time())
        else:
            events = server.receive(frame, loop.time())
        await _send(connection, events)
    message = "Your session hit the maximum duration of 60 minutes."
    await _send(connection, server.fail("invalid_request_error", "session_expired", message, loop.time()))
    await connection.close(1001, message)


async def _send(connection: ServerConnection, events: list[Event]) -> None:
    async with asyncio.timeout(SEND_TIMEOUT):
        for event in events:
            await connection.send(json.dumps(event, separators=(",", ":")))
