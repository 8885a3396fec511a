"""The fake's server: it accepts or refuses connections, and lets tests wait for what comes on them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable, Sequence
from http import HTTPStatus
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from .faults import MESSAGES, Faults
from .habits import Habits
from .link import Link, Over
from .said import Script
from .seen import Connection, Event, Received
from .session import Session

PATH = "/v1/realtime"
PATIENCE = 10.0  # how long a test waits for an expected event, in seconds

# Tests read the log of the code under test, not of its peer.
_logger = logging.getLogger("fake_openai")
_logger.setLevel(logging.WARNING)

_USUAL = Habits()


class FakeOpenAI:
    """The fake peer. ``faults`` may list one `Faults` per connection attempt; later attempts have none.

    ``script`` may be a function of the connection, based on what it has received, and ``habits`` one of the model's
    name. When a session is ``session_seconds`` old, it ends, as a real one does after an hour.
    """

    def __init__(
        self,
        script: Script | Callable[[Connection], Script] | None = None,
        faults: Faults | Sequence[Faults] = (),
        *,
        habits: Habits | Callable[[str], Habits] = _USUAL,
        api_key: str | None = "the-key-of-the-fake",  # None: no key is required, as with some other GA Realtime servers
        session_seconds: float = 3600.0,
    ) -> None:
        self.script = script or Script()
        self.api_key = api_key
        self.session_seconds = session_seconds
        self.faults = faults
        self.habits = habits
        #: The number of upgrade requests, including refused ones.
        self.upgrades = 0
        self.connections: list[Connection] = []
        self.events_received: list[Received] = []
        #: Violations of the SDK's types by the client, or unintended ones by the fake.
        self.violations: list[str] = []
        self._changed = asyncio.Condition()
        self._leaving = asyncio.Event()
        self._server: Server | None = None

    async def __aenter__(self) -> FakeOpenAI:
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            process_request=self._process_request,
            compression=None,
            logger=_logger,
            max_size=16 << 20,  # the service accepts 15 MiB of audio in an event
            max_queue=1,
            open_timeout=None,
            ping_interval=None,
            close_timeout=0.5,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._leaving.set()
        self._server.close()
        async with asyncio.timeout(PATIENCE):
            await self._server.wait_closed()

    @property
    def url(self) -> str:
        """The URL without its query. A client adds ``?model=``."""
        assert self._server is not None
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}{PATH}"

    @property
    def errors(self) -> list[Event]:
        """The ``error`` of each ``error`` event sent on any connection."""
        return [error for connection in self.connections for error in connection.errors]

    @property
    def open_connections(self) -> int:
        """The number of open WebSockets."""
        return sum(connection.is_open for connection in self.connections)

    def events(self, type: str) -> list[Event]:
        """Return all connections' client events of one type."""
        return [received.event for received in self.events_received if received.event.get("type") == type]

    async def received(self, type: str, count: int = 1) -> Event:
        """Wait for the ``count``-th client event of this type, and return it."""
        await self.until(lambda: len(self.events(type)) >= count, f"{count} × {type} received")
        return self.events(type)[count - 1]

    async def close_all(self, code: int, reason: str) -> None:
        """Close every open connection, as a server does when it shuts down."""
        assert self._server is not None
        for websocket in self._server.connections:
            await websocket.close(code, reason)

    async def all_closed(self) -> None:
        """Wait until no connection is open."""
        await self.until(lambda: self.open_connections == 0, "all connections closed")

    async def until(self, condition: Callable[[], bool], what: str = "the condition") -> None:
        """Wait until a condition on this object holds. Raises `AssertionError` after `PATIENCE` seconds."""
        try:
            async with asyncio.timeout(PATIENCE), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            got = [received.event.get("type") for received in self.events_received][-20:]
            raise AssertionError(f"{what}: not within {PATIENCE} s; the last client events are {got}") from None

    async def notify(self) -> None:
        """Wake up tests that wait for a change."""
        async with self._changed:
            self._changed.notify_all()

    async def wait_leaving(self, seconds: float | None) -> None:
        """Sleep for this long, but no longer than the test runs."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._leaving.wait()

    @property
    def is_leaving(self) -> bool:
        """Whether the test is over."""
        return self._leaving.is_set()

    def script_of(self, connection: Connection) -> Script:
        """Return what the model says on this connection."""
        return self.script if isinstance(self.script, Script) else self.script(connection)

    # The upgrade.

    def _habits_of(self, model: str) -> Habits:
        return self.habits if isinstance(self.habits, Habits) else self.habits(model)

    def _faults_of(self, attempt: int) -> Faults:
        if isinstance(self.faults, Faults):
            return self.faults
        return self.faults[attempt] if attempt < len(self.faults) else Faults()

    async def _process_request(self, connection: ServerConnection, request: Request) -> Response | None:
        faults = self._faults_of(self.upgrades)
        connection.faults = faults  # type: ignore[attr-defined]
        self.upgrades += 1
        await self.notify()
        if faults.hang_upgrade:
            await self.wait_leaving(None)
        away = self._habits_of(_model(request)).away
        if away.sent or away.received:
            await self.wait_leaving(away.sent + away.received)
        if faults.refuse is not None:
            code = faults.refuse_code or _REFUSALS.get(faults.refuse, "server_error")
            return _refusal(connection, HTTPStatus(faults.refuse), code, MESSAGES.get(code, code))
        if urlsplit(request.path).path != PATH:
            return _refusal(connection, HTTPStatus.NOT_FOUND, "unknown_url", f"Unknown request URL: {request.path}.")
        if self.api_key is not None and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _refusal(connection, HTTPStatus.UNAUTHORIZED, "invalid_api_key", "Incorrect API key provided.")
        return None

    async def _serve(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        model = _model(websocket.request)
        connection = Connection(len(self.connections), model, websocket.request.headers)
        self.connections.append(connection)
        await self.notify()
        try:
            await self._talk(connection, websocket)
        except ConnectionClosed as closed:
            connection.ended_by_fake = closed.rcvd_then_sent is False
        except Over:
            connection.ended_by_fake = True
        finally:
            connection.is_open = False
            connection.closed_at = asyncio.get_running_loop().time()
            connection.close_code = websocket.protocol.close_rcvd.code if websocket.protocol.close_rcvd else None
            await self.notify()

    async def _talk(self, connection: Connection, websocket: ServerConnection) -> None:
        habits = self._habits_of(connection.model)
        faults: Faults = websocket.faults  # type: ignore[attr-defined]
        record = (self.events_received, self.violations, lambda: self.notify())
        link = Link(websocket, connection, habits.away, *record)
        session = Session(self, connection, link, faults, habits)
        try:
            if (wrong := _wrongly_asked(connection)) is not None:
                await session.refuse(*wrong)
            await session.serve()
        finally:
            await link.leave()


def _wrongly_asked(connection: Connection) -> tuple[str, str] | None:
    """Return the code and the message of what a client has asked wrongly, if anything."""
    if "OpenAI-Beta" in connection.headers:
        return "beta_api_shape_disabled", "The Realtime Beta API is no longer supported."
    return None if connection.model else ("missing_model", "You must provide a model parameter.")


def _model(request: Request) -> str:
    """Return the model that a URL asks for."""
    return parse_qs(urlsplit(request.path).query).get("model", [""])[0]


_REFUSALS = {401: "invalid_api_key", 429: "insufficient_quota"}


def _refusal(connection: ServerConnection, status: HTTPStatus, code: str, message: str) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    response = connection.respond(status, json.dumps({"error": error}))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response
