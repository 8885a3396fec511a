"""One connection's session: the protocol core, with the server's habits, and the only way to send to the client."""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from callgate.core.protocols.realtime import ALREADY_RESPONDING
from callgate.peers.linecheck.realtime.protocol import RealtimeServer
from websockets.asyncio.server import ServerConnection

from support.realtime_types import EventInvalid, validate_client_event, validate_server_event

from .distance import WayIn, WayOut
from .faults import (
    MESSAGES,
    Action,
    Behind,
    Change,
    Close,
    Count,
    Delay,
    Drop,
    Faults,
    Hang,
    Reset,
    Send,
    Slow,
    error_event,
)
from .habits import Habits, of
from .seen import Connection, Event, Received
from .withheld import Withheld

if TYPE_CHECKING:
    from .server import FakeOpenAI

RATE_LIMITS = ({"name": "tokens", "limit": 40_000, "remaining": 39_000, "reset_seconds": 1.5},)
LONGEST_PROBE = 300  # characters of a ``session.update`` that changes nothing


class Over(Exception):
    """The fake has ended the connection."""


class Session:
    """A session, from the upgrade on. ``Over`` is raised when a fault ends it."""

    def __init__(
        self, fake: FakeOpenAI, connection: Connection, websocket: ServerConnection, faults: Faults, habits: Habits
    ) -> None:
        self._fake = fake
        self._connection = connection
        self._websocket = websocket
        self._faults = faults
        self._habits = habits
        self._count = Count()
        self._hanging = faults.mute
        self._probes = 0
        self._last_delta: Event | None = None
        self._expires = asyncio.get_running_loop().time() + fake.session_seconds
        script = fake.script_of(connection)
        self._core = RealtimeServer(
            script.answer,
            name=secrets.token_hex(6),
            model=connection.model,
            transcribe=script.transcribe,
            expires_at=int(time.time() + fake.session_seconds),
            manner=habits.manner(script.pace),
            rate_limits=RATE_LIMITS,
        )
        self._withheld = Withheld(lambda: not self._core.is_responding)
        self._out = WayOut(websocket.send)
        self._in = WayIn(websocket.recv, self._record, lambda: fake.notify())
        self._out.delay, self._in.delay = habits.away.sent, habits.away.received

    async def run(self) -> None:
        """Serve the connection until the client or a fault ends it."""
        try:
            await self._refuse_what_is_asked_wrongly()
            await self._serve()
        finally:
            await self._in.close()
            await self._out.close()

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        if self._faults.read_interval:
            self._transport_socket().setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        await self._send_all(self._core.open(loop.time()))
        while True:
            if loop.time() >= self._expires:
                await self._expire()
            deadlines = (self._expires, self._core.next_deadline, self._withheld.deadline)
            try:
                async with asyncio.timeout_at(min(deadline for deadline in deadlines if deadline is not None)):
                    frame = await self._in.next()
            except TimeoutError:
                events = self._core.tick(loop.time())
            else:
                await self._fake.notify()
                events = self._answer(frame, loop.time())
            await self._send_all(events)
            for event in self._withheld.released_at(loop.time()):
                if not self._hanging:
                    await self._write(event)
            if self._faults.read_interval:
                await self._fake.wait_leaving(self._faults.read_interval)
                self._leave_what_is_unread()

    async def _expire(self) -> None:
        await self.send(error_event("session_expired"))
        await self._close(1001, MESSAGES["session_expired"])

    def _leave_what_is_unread(self) -> None:
        # Otherwise a closing handshake would wait for everything that the client has queued.
        if self._fake.is_leaving:
            self._websocket.transport.abort()
            raise Over

    async def _refuse_what_is_asked_wrongly(self) -> None:
        if "OpenAI-Beta" in self._connection.headers:
            code, message = "beta_api_shape_disabled", "The Realtime Beta API is no longer supported."
        elif not self._connection.model:
            code, message = "missing_model", "You must provide a model parameter."
        else:
            return
        await self.send(error_event(code, message, type="invalid_request_error"))
        await self._close(4000, f"invalid_request_error.{code}")

    # Events from the client.

    def _record(self, frame: str | bytes) -> None:
        """Record a client event at its arrival, which may be before the server reads it."""
        try:
            event = json.loads(frame)
            validate_client_event(event)
        except (ValueError, AttributeError):
            self._fake.violations.append(f"connection {self._connection.number}: not a JSON object: {frame[:80]!r}")
            return
        except EventInvalid as invalid:
            self._fake.violations.append(f"connection {self._connection.number}: {invalid}")
        self._connection.received.append(event)
        now = asyncio.get_running_loop().time()
        self._fake.events_received.append(Received(now, self._connection.number, event))

    def _answer(self, frame: str | bytes, now: float) -> Sequence[Event]:
        events = self._core.receive(frame, now)
        if not _is_probe(frame):
            return events
        probes, self._probes = self._habits.probes, self._probes + 1
        for event in [event for event in events if event["type"] == "session.updated"]:
            events.remove(event)
            if probes.ever:
                due = now + of(probes.after)(self._probes - 1)
                self._withheld.add(event, due=due, only_when_idle=probes.only_when_idle)
        return events

    # Events for the client.

    async def _send_all(self, events: Sequence[Event]) -> None:
        for event in events:
            await self.send(event)

    async def send(self, event: Event) -> None:
        """Send an event, unless a habit or a fault is against it. Raises `Over` if a fault ends the connection."""
        try:
            validate_server_event(event)
        except EventInvalid as invalid:
            self._fake.violations.append(f"the fake sent: {invalid}")
        self._count.add(event["type"])
        struck: Event | None = self._habitual(event)
        for fault in self._faults.at:
            if struck is not None and not self._hanging and self._count.meets(fault, event["type"]):
                struck = await self._strike(fault.do, struck)
        if struck is None or self._hanging:
            return
        await self._write(struck)
        for late in self._withheld.released_by(event["type"]):
            await self._write(late)
        await self._send_late_deltas(struck)

    def _habitual(self, event: Event) -> Event | None:
        if event["type"] != "error":
            return event
        if not self._habits.names_events:
            event = {**event, "error": {**event["error"], "event_id": None}}
        if self._habits.refuses_late and event["error"]["code"] == ALREADY_RESPONDING:
            self._withheld.add(event, behind="response.done")
            return None
        return event

    async def _strike(self, action: Action, event: Event) -> Event | None:
        match action:
            case Send(message):
                await self._write(message)
            case Change(change):
                return change(event)
            case Delay(seconds):
                await self._fake.wait_leaving(seconds)
            case Slow(sent, received):
                self._out.delay, self._in.delay = sent, received
            case Behind(other, within):
                self._withheld.add(event, behind=other, due=asyncio.get_running_loop().time() + within)
                return None
            case Drop():
                return None
            case Hang():
                self._hanging = True
            case Close(code, reason):
                await self._close(code, reason)
            case Reset():
                await self._out.all_delivered()
                self._transport_socket().setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self._websocket.transport.abort()
                raise Over
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
        await self._out.send(message)

    async def _close(self, code: int, reason: str) -> None:
        await self._out.all_delivered()
        await self._websocket.close(code, reason)
        raise Over

    def _transport_socket(self) -> Any:
        return self._websocket.transport.get_extra_info("socket")


def _is_probe(frame: str | bytes) -> bool:
    """Whether this is a ``session.update`` that changes nothing."""
    if isinstance(frame, bytes) or len(frame) > LONGEST_PROBE or "session.update" not in frame:
        return False
    try:
        event = json.loads(frame)
        return bool(event["type"] == "session.update" and set(event["session"]) == {"type"})
    except (ValueError, KeyError, TypeError):
        return False
