"""Where model sessions come from: a WebSocket to OpenAI, to another GA Realtime server, or to the line check."""

from __future__ import annotations

import json
import logging
import time
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from .config import OPENAI_URL, Config
from .errors import UpstreamError, UpstreamRefused
from .realtime import FATAL_ERRORS

log = logging.getLogger(__name__)

SECONDS = 1.0
OPEN_DEADLINE = 8 * SECONDS  # for TCP, TLS and the upgrade together
CLOSE_DEADLINE = 2 * SECONDS
PING_INTERVAL = 20 * SECONDS
PING_DEADLINE = 20 * SECONDS
MESSAGE_LIMIT = 4 * 1024 * 1024  # bytes of one event; an audio delta is some ten kB
FAILURE_COUNTS_FOR = 60 * SECONDS  # how long one failed session makes the service not ready

LINE_CHECK: Final = "the line check"
OPENAI: Final = "OpenAI Realtime API"


@dataclass(frozen=True)
class Endpoint:
    """A server of model sessions. ``name`` is what the log calls it."""

    name: str
    url: str
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # the API key is here

    @classmethod
    def from_config(cls, config: Config, line_check_url: str | None = None) -> Endpoint:
        """The server that the settings name; the line check where they name none."""
        if config.uses_line_check:
            if line_check_url is None:
                raise ValueError("the line check is to be used, but its address is not given")
            return cls(LINE_CHECK, line_check_url)
        url = config.openai_realtime_url or OPENAI_URL
        name = OPENAI if config.openai_realtime_url is None else f"Realtime API at {urlsplit(url).netloc}"
        key = config.openai_api_key
        return cls(name, _with_model(url, config.openai_model), {"Authorization": f"Bearer {key}"} if key else {})


def _with_model(url: str, model: str) -> str:
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if all(key != "model" for key, _ in query):
        query.append(("model", model))
    return urlunsplit(parts._replace(query=urlencode(query)))


class Upstream:
    """Opens model sessions, and remembers how that went, for readiness."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._failure: tuple[float, str] | None = None  # when and why the last attempt failed; None: it did not

    @property
    def failure(self) -> str | None:
        """Why the last session could not be opened, if that was within the last minute."""
        if self._failure is None or time.monotonic() - self._failure[0] > FAILURE_COUNTS_FOR:
            return None
        return self._failure[1]

    async def open(self) -> ModelSocket:
        """Open a session. Raises `UpstreamError` after `OPEN_DEADLINE` at the latest."""
        log.info("Attempting to connect to %s...", self.endpoint.name)
        try:
            socket = ModelSocket(await _connect(self.endpoint), self.endpoint.name)
        except UpstreamError as exc:
            self._failure = (time.monotonic(), str(exc))
            raise
        self._failure = None
        log.info("Connected to %s", self.endpoint.name)
        return socket


class ModelSocket:
    """One open session's socket: text frames, as `callgate.realtime` reads and writes them."""

    def __init__(self, connection: ClientConnection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def receive(self) -> str | bytes:
        """The next frame. Raises `UpstreamError` when the server closed the socket or it was lost."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as exc:
            raise UpstreamError(f"{self._name} closed the session: {exc}") from exc

    async def send(self, frame: str) -> None:
        """Send a frame. Raises `UpstreamError` as `receive` does."""
        try:
            await self._connection.send(frame)
        except ConnectionClosed as exc:
            raise UpstreamError(f"{self._name} closed the session: {exc}") from exc

    async def close(self) -> None:
        """Close the session, with or without the server's help, within `CLOSE_DEADLINE`."""
        await self._connection.close()


async def _connect(endpoint: Endpoint) -> ClientConnection:
    try:
        return await connect(
            endpoint.url,
            additional_headers=endpoint.headers,
            compression=None,  # base64 audio does not shrink enough to pay for it
            open_timeout=OPEN_DEADLINE,
            close_timeout=CLOSE_DEADLINE,
            ping_interval=PING_INTERVAL,
            ping_timeout=PING_DEADLINE,
            max_size=MESSAGE_LIMIT,
            proxy=None if urlsplit(endpoint.url).scheme == "ws" else True,
        )
    except InvalidStatus as exc:
        raise _refusal(endpoint, exc) from exc
    except TimeoutError as exc:
        raise UpstreamError(f"{endpoint.name} did not answer within {OPEN_DEADLINE:.0f} s") from exc
    except (OSError, InvalidHandshake, EOFError) as exc:
        raise UpstreamError(f"{endpoint.name} can't be reached: {exc}") from exc


def _refusal(endpoint: Endpoint, exc: InvalidStatus) -> UpstreamError:
    status = exc.response.status_code
    code, message = _error_body(exc.response.body or b"")
    why = f"{endpoint.name} refused the session: HTTP {status}" + (f", {code}: {message}" if code else "")
    if status in (401, 403):
        return UpstreamRefused(f"{why}. Check OPENAI_API_KEY, and that its project may use OPENAI_MODEL")
    if code == "insufficient_quota":
        return UpstreamRefused(f"{why}. Add credit to the OpenAI account or raise its limit")
    return UpstreamRefused(why) if code in FATAL_ERRORS else UpstreamError(why)


def _error_body(body: bytes | bytearray) -> tuple[str, str]:
    try:
        error = json.loads(body)["error"]
        return str(error.get("code") or error.get("type") or ""), str(error.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", ""
