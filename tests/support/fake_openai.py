"""OpenAI's Realtime API for tests: a peer on a loopback socket that behaves like the real one, with faults on demand.

    async with FakeOpenAI(Script((say(audio), tool("hang_up")))) as fake:
        ...                                     # a relay connects to fake.url with fake.api_key
        await fake.received("session.update")   # waits, with a deadline
        assert fake.violations == []

It uses the same protocol core as the line check, so it detects speech, paces audio and cancels responses. A `Script`
determines what it says, and `Faults` what goes wrong. Every event it sends passes through `_Session.send`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import math
import secrets
import socket
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from callgate.core.wire.media_stream import SAMPLE_RATE, SILENCE
from callgate.peers.linecheck import clips
from callgate.peers.linecheck.realtime.pending_turn import ToAnswer
from callgate.peers.linecheck.realtime.protocol import Answerer, RealtimeServer
from callgate.peers.linecheck.realtime.response import ScriptedResponse, ScriptedToolCall, Speech, SpeechPace
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from support.realtime_types import EventInvalid, validate_client_event, validate_server_event

PATH = "/v1/realtime"
PATIENCE = 10.0  # how long a test waits for an expected event, in seconds
RATE_LIMITS = ({"name": "tokens", "limit": 40_000, "remaining": 39_000, "reset_seconds": 1.5},)

Event: TypeAlias = dict[str, Any]

# Tests read the log of the code under test, not of its peer.
_logger = logging.getLogger("fake_openai")
_logger.setLevel(logging.WARNING)


# What the fake says.


def say(audio: bytes, transcript: str = "Hello.") -> ScriptedResponse:
    """Return a response that speaks these µ-law bytes."""
    return ScriptedResponse((Speech(audio, transcript),))


def tone(seconds: float, hertz: float = 440.0) -> bytes:
    """Return a tone of about -14 dBFS, µ-law. Tones of different pitches have different bytes."""
    samples = range(round(seconds * SAMPLE_RATE))
    return bytes(clips.encode_sample(0.28 * math.sin(2 * math.pi * hertz * index / SAMPLE_RATE)) for index in samples)


def tool(name: str, /, *, first: Speech | None = None, **arguments: Any) -> ScriptedResponse:
    """Return a response that calls a tool, after speech if ``first`` is given."""
    return tools(asking(name, **arguments), first=first)


def asking(name: str, /, **arguments: Any) -> ScriptedToolCall:
    """Return one tool call."""
    return ScriptedToolCall(name, json.dumps(arguments))


def tools(*calls: ScriptedToolCall, first: Speech | None = None) -> ScriptedResponse:
    """Return a response that calls several tools, after speech if ``first`` is given."""
    return ScriptedResponse((first, *calls) if first else calls)


def failed(code: str = "server_error", message: str = "The server had an error.") -> ScriptedResponse:
    """Return a response that says nothing and ends ``failed``: ``insufficient_quota``, ``rate_limit_exceeded``, ..."""
    return ScriptedResponse(status="failed", error={"type": code, "code": code, "message": message})


def echo(turn: ToAnswer) -> ScriptedResponse:
    """Repeat the caller's own words, or 20 ms of silence if there are none."""
    return say(turn.heard or bytes([SILENCE]) * 160, "[the caller's own words]")


@dataclass(frozen=True, slots=True)
class Script:
    """What the model says: ``answers`` to each session's turns in order, then ``after`` for the rest.

    For huge deltas, give a `SpeechPace` a huge ``delta_ms``; for a model that speaks slowly, a small ``times``.
    """

    answers: Sequence[ScriptedResponse | Answerer] = ()
    after: Answerer = echo
    # of each utterance, or a function of its µ-law audio
    transcript: str | Callable[[bytes], str] = "What the caller said."
    pace: SpeechPace = field(default_factory=SpeechPace)

    def answer(self, turn: ToAnswer) -> ScriptedResponse:
        """Return the answer to this turn."""
        answer = self.answers[turn.number] if turn.number < len(self.answers) else self.after
        return answer if isinstance(answer, ScriptedResponse) else answer(turn)

    def transcribe(self, audio: bytes) -> str:
        """Return an utterance's transcript."""
        return self.transcript if isinstance(self.transcript, str) else self.transcript(audio)


# Faults.


@dataclass(frozen=True, slots=True)
class Send:
    """First send a message: text and binary messages as they are, an event as JSON. It is not checked."""

    message: str | bytes | Event


@dataclass(frozen=True, slots=True)
class Change:
    """Send what ``change`` makes of the event."""

    change: Callable[[Event], Event]


@dataclass(frozen=True, slots=True)
class Delay:
    """Send nothing for a number of seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Drop:
    """Leave the event out."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more. The socket stays open and is still read."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the WebSocket instead of sending the event."""

    code: int = 1000
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the TCP connection instead of sending the event."""


Action: TypeAlias = Send | Change | Delay | Drop | Hang | Close | Reset


@dataclass(frozen=True, slots=True)
class At:
    """Where a fault strikes: at the ``nth`` server event of a type, or of any type if ``event`` is ``"*"``.

    With ``nth`` 0, it strikes at each of them. With ``turn``, it strikes only from that turn's ``response.created`` up
    to the next one, and ``nth`` counts the turn's events; turn 0 is before the first ``response.created``. Faults at
    the same event strike in the order given.
    """

    event: str
    do: Action
    nth: int = 1
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one connection."""

    refuse: int | None = None  # answer the upgrade with this HTTP status
    refuse_code: str | None = None  # the code in that answer's body; by default, one that fits the status
    hang_upgrade: bool = False  # never answer the upgrade
    mute: bool = False  # accept and read, but never send anything
    at: Sequence[At] = ()
    late_deltas: int = 0  # audio deltas still sent after a cancelled response is done
    read_interval: float = 0.0  # seconds between reading two messages, with small buffers


def error_event(code: str, message: str = "", *, type: str | None = None) -> Event:
    """Return an ``error`` event that no client event caused: insufficient_quota, rate_limit_exceeded,
    session_expired, ..."""
    kind = type or ("invalid_request_error" if code == "session_expired" else code)
    error = {"type": kind, "code": code, "message": message or _MESSAGES.get(code, code), "param": None}
    return {"type": "error", "event_id": f"event_{code}", "error": {**error, "event_id": None}}


_MESSAGES = {
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
    "rate_limit_exceeded": "Rate limit reached. Please try again later.",
    "session_expired": "Your session hit the maximum duration of 60 minutes.",
    "server_error": "The server had an error while processing your request.",
}


def session_expires(at: str, nth: int = 1) -> tuple[At, At]:
    """Return the end of a session's hour at this event: an error, then close 1001."""
    return At(at, Send(error_event("session_expired")), nth), At(at, Close(1001, _MESSAGES["session_expired"]), nth)


def wrong_format() -> At:
    """Make every ``session.updated`` echo 24 kHz PCM, whatever was requested."""

    def change(event: Event) -> Event:
        pcm = {"type": "audio/pcm", "rate": 24_000}
        audio = event["session"]["audio"]
        sides = {side: {**settings, "format": pcm} for side, settings in audio.items()}
        return {**event, "session": {**event["session"], "audio": sides}}

    return At("session.updated", Change(change), nth=0)


# What a test can inspect.


@dataclass(frozen=True, slots=True)
class Received:
    """A client event, with its time (of the event loop) and connection (counted from 0)."""

    at: float
    connection: int
    event: Event


@dataclass(slots=True)
class Connection:
    """One accepted WebSocket."""

    number: int
    model: str
    headers: Mapping[str, str]
    is_open: bool = True
    close_code: int | None = None  # the client's close code
    received: list[Event] = field(default_factory=list)
    sent: list[Event] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)  # when each was sent, in the loop's time

    @property
    def audio(self) -> bytes:
        """All audio that the client has appended."""
        appended = (event["audio"] for event in self.received if event.get("type") == "input_audio_buffer.append")
        return b"".join(base64.b64decode(audio) for audio in appended)


class FakeOpenAI:
    """The fake peer. ``faults`` may list one `Faults` per connection attempt; later attempts have none.

    ``script`` may be a function of the connection, based on what it has received. When a session is ``session_seconds``
    old, it ends, as a real one does after an hour.
    """

    def __init__(
        self,
        script: Script | Callable[[Connection], Script] | None = None,
        faults: Faults | Sequence[Faults] = (),
        *,
        api_key: str | None = "the-key-of-the-fake",  # None: no key is required, as with some other GA Realtime servers
        session_seconds: float = 3600.0,
    ) -> None:
        self.script = script or Script()
        self.api_key = api_key
        self.session_seconds = session_seconds
        self.faults = faults
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

    # The upgrade.

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
        if faults.refuse is not None:
            code = faults.refuse_code or _REFUSALS.get(faults.refuse, "server_error")
            return _refusal(connection, HTTPStatus(faults.refuse), code, _MESSAGES.get(code, code))
        if urlsplit(request.path).path != PATH:
            return _refusal(connection, HTTPStatus.NOT_FOUND, "unknown_url", f"Unknown request URL: {request.path}.")
        if self.api_key is not None and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _refusal(connection, HTTPStatus.UNAUTHORIZED, "invalid_api_key", "Incorrect API key provided.")
        return None

    async def _serve(self, websocket: ServerConnection) -> None:
        assert websocket.request is not None
        query = parse_qs(urlsplit(websocket.request.path).query)
        model = query.get("model", [""])[0]
        connection = Connection(len(self.connections), model, websocket.request.headers)
        self.connections.append(connection)
        await self.notify()
        try:
            await _Session(self, connection, websocket).run()
        except (ConnectionClosed, _Over):
            pass
        finally:
            connection.is_open = False
            connection.close_code = websocket.protocol.close_rcvd.code if websocket.protocol.close_rcvd else None
            await self.notify()


_REFUSALS = {401: "invalid_api_key", 429: "insufficient_quota"}


def _refusal(connection: ServerConnection, status: HTTPStatus, code: str, message: str) -> Response:
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    response = connection.respond(status, json.dumps({"error": error}))
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "application/json"
    return response


class _Over(Exception):
    """A fault has ended the connection."""


class _Session:
    """One connection's session: the protocol core, and the only way to send to the client."""

    def __init__(self, fake: FakeOpenAI, connection: Connection, websocket: ServerConnection) -> None:
        self._fake = fake
        self._connection = connection
        self._websocket = websocket
        self._faults: Faults = websocket.faults  # type: ignore[attr-defined]
        self._hanging = self._faults.mute
        self._turn = 0  # number of responses created
        self._counts: dict[str, int] = {}  # server events so far, by type, and in total ("*")
        self._counts_of_turn: dict[str, int] = {}  # the same, since the last response was created
        self._last_delta: Event | None = None
        self._expires = asyncio.get_running_loop().time() + fake.session_seconds
        script = fake.script if isinstance(fake.script, Script) else fake.script(connection)
        self._core = RealtimeServer(
            script.answer,
            name=secrets.token_hex(6),
            model=connection.model,
            transcribe=script.transcribe,
            expires_at=int(time.time() + fake.session_seconds),
            pace=script.pace,
            rate_limits=RATE_LIMITS,
        )

    async def run(self) -> None:
        """Serve the connection until the client or a fault ends it."""
        loop = asyncio.get_running_loop()
        await self._refuse_what_is_asked_wrongly()
        if self._faults.read_interval:
            self._transport_socket().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        await self._send_all(self._core.open(loop.time()))
        while True:
            if loop.time() >= self._expires:
                await self._expire()
            deadline = self._core.next_deadline
            try:
                async with asyncio.timeout_at(self._expires if deadline is None else min(deadline, self._expires)):
                    frame = await self._websocket.recv()
            except TimeoutError:
                events = self._core.tick(loop.time())
            else:
                await self._record(frame, loop.time())
                events = self._core.receive(frame, loop.time())
            await self._send_all(events)
            if self._faults.read_interval:
                await self._fake.wait_leaving(self._faults.read_interval)
                self._leave_what_is_unread()

    async def _expire(self) -> None:
        await self.send(error_event("session_expired"))
        await self._websocket.close(1001, _MESSAGES["session_expired"])
        raise _Over

    def _leave_what_is_unread(self) -> None:
        # Otherwise a closing handshake would wait for everything that the client has queued.
        if self._fake.is_leaving:
            self._websocket.transport.abort()
            raise _Over

    async def _refuse_what_is_asked_wrongly(self) -> None:
        if "OpenAI-Beta" in self._connection.headers:
            code, message = "beta_api_shape_disabled", "The Realtime Beta API is no longer supported."
        elif not self._connection.model:
            code, message = "missing_model", "You must provide a model parameter."
        else:
            return
        await self.send(error_event(code, message, type="invalid_request_error"))
        await self._websocket.close(4000, f"invalid_request_error.{code}")
        raise _Over

    async def _record(self, frame: str | bytes, now: float) -> None:
        try:
            event = json.loads(frame)
            validate_client_event(event)
        except (ValueError, AttributeError):
            self._fake.violations.append(f"connection {self._connection.number}: not a JSON object: {frame[:80]!r}")
            return
        except EventInvalid as invalid:
            self._fake.violations.append(f"connection {self._connection.number}: {invalid}")
        self._connection.received.append(event)
        self._fake.events_received.append(Received(now, self._connection.number, event))
        await self._fake.notify()

    # Sending events.

    async def _send_all(self, events: list[Event]) -> None:
        for event in events:
            await self.send(event)

    async def send(self, event: Event) -> None:
        """Send an event, unless a fault strikes at it. Raises `_Over` if a fault ends the connection."""
        try:
            validate_server_event(event)
        except EventInvalid as invalid:
            self._fake.violations.append(f"the fake sent: {invalid}")
        self._count(event["type"])
        struck: Event | None = event
        for fault in self._faults.at:
            if struck is not None and not self._hanging and self._strikes(fault, event):
                struck = await self._strike(fault.do, struck)
        if struck is None or self._hanging:
            return
        await self._write(struck)
        await self._send_late_deltas(struck)

    def _count(self, type: str) -> None:
        if type == "response.created":
            self._turn += 1
            self._counts_of_turn.clear()
        for counts in (self._counts, self._counts_of_turn):
            for key in (type, "*"):
                counts[key] = counts.get(key, 0) + 1

    def _strikes(self, fault: At, event: Event) -> bool:
        if fault.event not in (event["type"], "*") or fault.turn not in (None, self._turn):
            return False
        counts = self._counts if fault.turn is None else self._counts_of_turn
        return fault.nth in (0, counts[fault.event])

    async def _strike(self, action: Action, event: Event) -> Event | None:
        match action:
            case Send(message):
                await self._write(message)
            case Change(change):
                return change(event)
            case Delay(seconds):
                await self._fake.wait_leaving(seconds)
            case Drop():
                return None
            case Hang():
                self._hanging = True
            case Close(code, reason):
                await self._websocket.close(code, reason)
                raise _Over
            case Reset():
                self._transport_socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._websocket.transport.abort()
                raise _Over
        return event

    async def _send_late_deltas(self, event: Event) -> None:
        if event["type"] == "response.output_audio.delta":
            self._last_delta = event
        elif event["type"] == "response.done" and event["response"]["status"] == "cancelled" and self._last_delta:
            for number in range(self._faults.late_deltas):
                await self._write({**self._last_delta, "event_id": f"event_late_{number}"})

    async def _write(self, message: str | bytes | Event) -> None:
        if isinstance(message, dict):
            self._connection.sent.append(message)
            self._connection.sent_at.append(asyncio.get_running_loop().time())
            message = json.dumps(message)
        await self._websocket.send(message)

    def _transport_socket(self) -> Any:
        return self._websocket.transport.get_extra_info("socket")
