"""Opens model sessions: WebSockets to OpenAI, another GA Realtime server, or the line check."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
import time
import urllib.request
from collections.abc import Sequence
from typing import Any, cast
from urllib.parse import urlsplit

import aiohappyeyeballs
from picows import WSError, WSInvalidStatusError, WSParsedURL, ws_connect

from callgate.core.foreign import foreign, name_or_length
from callgate.core.protocols import realtime_json
from callgate.core.protocols.realtime import ClientEvent, ErrorEvent, SessionUpdated
from callgate.core.protocols.realtime_errors import FATAL_ERRORS
from callgate.core.units import HOURS, SECONDS
from callgate.errors import RealtimeError, UpstreamError, UpstreamRefused
from callgate.network.lookups import Lookups
from callgate.websocket.model_frames import MESSAGE_LIMIT

from .endpoints import Endpoint
from .refusals import quoted, refusal
from .socket import ModelSocket

log = logging.getLogger(__name__)

OPEN_DEADLINE = 8 * SECONDS  # for TCP, TLS and the upgrade together
# How many turns of the event loop uvloop takes to make a connected socket its transport's. A socket that ends before
# that is closed twice: the second time by its file descriptor, which may be another's by then.
TURNS_TO_ATTACH = 5
GIVE_UP_DEADLINE = 2 * SECONDS  # for an opening to end once its connection was ended
CONFIRM_DEADLINE = 5 * SECONDS  # from session.update to session.updated
KEEP_ADDRESSES_FOR = 24 * HOURS  # while the name can't be resolved; whoever answers there has to show its certificate
FAILURE_COUNTS_FOR = 60 * SECONDS  # how long a failed session makes the service not ready

PCMU_BOTH_WAYS = ("audio/pcmu", "audio/pcmu")

_picows_log = logging.getLogger("picows.upstream")
_picows_log.setLevel(logging.ERROR)  # we log the rest ourselves


class Upstream:
    """Opens model sessions at the first of several servers that provides one, and remembers which did not.

    ``endpoints``: in the order in which they are tried; a server that failed within the last minute is tried last.
    """

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        self.endpoints = tuple(endpoints)
        # Created once, as reading the certificates is slow.
        self._ssl = ssl.create_default_context() if any(each.url.startswith("wss:") for each in endpoints) else None
        self._lookups = Lookups(keep_for=KEEP_ADDRESSES_FOR, believes_missing=False)
        self._failures: dict[str, tuple[float, str]] = {}  # by the endpoint's name: when, and why

    @property
    def failure(self) -> str | None:
        """Why no session could be opened recently; None if at least one server provides them, as far as we know."""
        failures = [self._failure_of(endpoint) for endpoint in self.endpoints]
        return None if None in failures else failures[0]

    def failed(self, model: ModelSocket, reason: str) -> None:
        """A session was lost, or did not answer, in mid-call: its server is tried last for a while."""
        self._failures[model.endpoint.name] = (time.monotonic(), reason)

    async def open(
        self, opening: Sequence[ClientEvent], model_name: str | None = None, avoided: str = ""
    ) -> ModelSocket:
        """Open a session, and tell it what it is and what was said so far: ``opening`` begins with a
        ``session.update``, which is confirmed when this returns. ``model_name``: a model to use instead of the first
        one in the settings. ``avoided``: the name of a server that is tried last. Raises `UpstreamError` if no server
        provides a session; each may take `OPEN_DEADLINE` and `CONFIRM_DEADLINE`. The text of the error quotes a server
        only if that server was told nothing of what was said."""
        quotes = len(opening) <= 1
        errors: list[UpstreamError] = []
        endpoints = [each.asked_for(model_name) for each in self.endpoints]
        in_order = sorted(endpoints, key=lambda each: self._failure_of(each) is not None or each.name == avoided)
        for endpoint in in_order:
            log.info("Attempting to connect to %s...", endpoint.name)
            try:
                model = await _connect(endpoint, self._ssl, self._lookups, quotes)
                await _configure(model, opening, quotes)
            except UpstreamError as exc:
                self._failures[endpoint.name] = (time.monotonic(), str(exc))
                errors.append(exc)
                if endpoint is not in_order[-1]:  # the last one's failure is raised
                    log.warning("%s", exc)
            else:
                self._failures.pop(endpoint.name, None)
                log.info("Connected to %s", endpoint.name)
                return model
        if all(isinstance(exc, UpstreamRefused) for exc in errors):
            raise errors[-1]
        # Another try may help, even if not at that server.
        waits = [each.retry_after for each in errors if each.retry_after is not None]
        raise UpstreamError(str(errors[-1]), min(waits, default=None)) from errors[-1]

    def _failure_of(self, endpoint: Endpoint) -> str | None:
        at, why = self._failures.get(endpoint.name, (float("-inf"), ""))
        return why if time.monotonic() - at <= FAILURE_COUNTS_FOR else None


class _Confirmation:
    """Waits for a session to confirm its configuration (`ModelReceiver`). ``quotes``: whether its errors may be
    quoted."""

    def __init__(self, model: ModelSocket, quotes: bool) -> None:
        self._model, self._quotes = model, quotes
        self._has_skipped = False
        self.confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def model_sent(self, frame: bytes) -> None:
        self._event(frame.decode(errors="replace"))

    def model_sent_binary(self, frame: bytes) -> None:
        self._event(frame)

    def model_lost(self, reason: str) -> None:
        words = foreign(self._model.last_words) if self._quotes else ""
        self._done(UpstreamError(f"{reason}: {words}" if words else reason))

    def model_is_full(self) -> None: ...

    def model_takes_more(self) -> None: ...

    def _event(self, frame: str | bytes) -> None:
        try:
            event = realtime_json.parse(frame)
        except RealtimeError as exc:
            self._skip(str(exc))
            return
        match event:
            case SessionUpdated() if (event.input_format, event.output_format) == PCMU_BOTH_WAYS:
                self._done(None)
            case SessionUpdated():
                # If it does not say which audio, that may be another the next time.
                is_told = event.input_format or event.output_format
                self._done(
                    (UpstreamRefused if is_told else UpstreamError)(
                        "the model confirmed the session with other audio than audio/pcmu, which callers hear "
                        f"as noise: input {_format(event.input_format)}, output {_format(event.output_format)}"
                    )
                )
            case ErrorEvent() if event.says_nothing:
                self._skip("the model sent an error event that says nothing")
            case ErrorEvent():
                kind = UpstreamRefused if event.code in FATAL_ERRORS else UpstreamError
                told = quoted(event.code, event.message) if self._quotes else event.why
                self._done(kind(f"the model reported {told}"))

    def _skip(self, why: str) -> None:
        if not self._has_skipped:  # only the first is logged, so that a server can't fill the log
            self._has_skipped = True
            log.warning("Skipped a message from %s: %s", self._model.endpoint.name, why)

    def _done(self, failure: UpstreamError | None) -> None:
        if self.confirmed.done():
            return
        if failure is None:
            self.confirmed.set_result(None)
        else:
            self.confirmed.set_exception(failure)


async def _configure(model: ModelSocket, opening: Sequence[ClientEvent], quotes: bool) -> None:
    confirmation = _Confirmation(model, quotes)
    began = time.monotonic()
    for event in opening:
        model.send(realtime_json.encode(event).encode())
    model.adopt(confirmation)
    try:
        async with asyncio.timeout(CONFIRM_DEADLINE):
            await confirmation.confirmed
    except TimeoutError:
        await model.close()
        raise UpstreamError(f"the model did not confirm the session within {CONFIRM_DEADLINE:.0f} s") from None
    except BaseException:
        await model.close()
        raise
    model.confirmed_in = time.monotonic() - began
    model.release()


async def _connect(
    endpoint: Endpoint, ssl_context: ssl.SSLContext | None, lookups: Lookups, quotes: bool
) -> ModelSocket:
    sockets: list[socket.socket] = []

    async def connected(url: WSParsedURL) -> socket.socket:
        sockets.append(await _connected_socket(lookups, url.host, url.port))
        return sockets[0]

    opening = asyncio.ensure_future(
        ws_connect(
            lambda: ModelSocket(endpoint),
            endpoint.url,
            ssl_context=ssl_context,
            websocket_handshake_timeout=None,  # we have our own
            extra_headers=dict(endpoint.headers),
            max_frame_size=MESSAGE_LIMIT,
            max_redirects=0,
            proxy=_proxy(endpoint.url),
            socket_factory=connected,
            use_aiofastnet=False,  # on uvloop it can miss that a connection was reset
            logger_name=_picows_log,
        )
    )
    try:
        async with asyncio.timeout(OPEN_DEADLINE):
            _, listener = await asyncio.shield(opening)
    except WSInvalidStatusError as exc:
        raise refusal(endpoint, exc, quotes) from exc
    except TimeoutError as exc:
        await _give_up(opening, sockets)
        raise UpstreamError(f"{endpoint.name} did not answer within {OPEN_DEADLINE:.0f} s") from exc
    except (OSError, WSError) as exc:
        raise UpstreamError(f"{endpoint.name} can't be reached: {foreign(str(exc))}") from exc
    except asyncio.CancelledError:
        await _give_up(opening, sockets)
        raise
    if listener is None:  # how picows reports this
        raise UpstreamError(f"{endpoint.name} can't be reached: it closed the connection during the upgrade")
    return cast(ModelSocket, listener)


async def _connected_socket(lookups: Lookups, host: str, port: int) -> socket.socket:
    """Open a TCP connection, trying IPv6 and IPv4 in parallel (RFC 8305)."""
    addresses = await lookups.find(host, port)
    return await aiohappyeyeballs.start_connection(addresses, happy_eyeballs_delay=0.25)


async def _give_up(opening: asyncio.Future[Any], sockets: Sequence[socket.socket]) -> None:
    """Give up opening a session. Once picows has a connection, cancelling it would leave timers and futures behind;
    instead the connection is ended underneath it, which it notices."""
    opening.add_done_callback(_forget)
    if not sockets:
        opening.cancel()
    for _ in range(TURNS_TO_ATTACH if sockets else 0):
        await asyncio.sleep(0)
    for each in sockets:
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    await asyncio.wait((opening,), timeout=GIVE_UP_DEADLINE)
    opening.cancel()
    if opening.done() and not opening.cancelled() and opening.exception() is None:
        _, listener = opening.result()
        if listener is not None:  # it opened just as it was given up
            await cast(ModelSocket, listener).close()


def _forget(opening: asyncio.Future[Any]) -> None:
    """Mark the exception as retrieved: nobody waits for it any more."""
    if not opening.cancelled():
        opening.exception()


def _proxy(url: str) -> str | None:
    """Return the proxy that the environment names for this URL (HTTPS_PROXY, NO_PROXY)."""
    parts = urlsplit(url)
    if parts.scheme == "ws" or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return urllib.request.getproxies().get("https")


def _format(name: str | None) -> str:
    return name_or_length(name, "/") if name else "none"
