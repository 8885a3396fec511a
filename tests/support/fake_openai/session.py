"""One connection's session: the protocol core, with the server's habits and faults."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from callgate.core.protocols.realtime import ALREADY_RESPONDING
from callgate.peers.linecheck.realtime.protocol import RealtimeServer

from support.realtime_types import EventInvalid, validate_server_event

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
from .habits import Habits
from .link import Link
from .probes import ProbeAnswers
from .seen import Connection, Event
from .withheld import Withheld

if TYPE_CHECKING:
    from .server import FakeOpenAI

RATE_LIMITS = ({"name": "tokens", "limit": 40_000, "remaining": 39_000, "reset_seconds": 1.5},)


class Session:
    """A session, from the upgrade on. Every event that it sends passes through `send`."""

    def __init__(self, fake: FakeOpenAI, connection: Connection, link: Link, faults: Faults, habits: Habits) -> None:
        self._fake = fake
        self._link = link
        self._faults = faults
        self._habits = habits
        self._count = Count()
        self._hanging = faults.mute
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
        self._withheld = Withheld()
        self._probes = ProbeAnswers(habits.probes, lambda: not self._core.is_responding)

    async def refuse(self, code: str, message: str) -> None:
        """Refuse a client that asks for something wrong. Raises `Over`."""
        await self.send(error_event(code, message, type="invalid_request_error"))
        await self._link.close(4000, f"invalid_request_error.{code}")

    async def serve(self) -> None:
        """Serve the connection until the client ends it, with `ConnectionClosed`, or a fault, with `Over`."""
        loop = asyncio.get_running_loop()
        if self._faults.read_interval:
            self._link.read_little()
        await self._send_all(self._core.open(loop.time()))
        while True:
            if loop.time() >= self._expires:
                await self._expire()
            try:
                async with asyncio.timeout_at(self._deadline()):
                    frame = await self._link.next()
            except TimeoutError:
                events = self._core.tick(loop.time())
            else:
                await self._fake.notify()
                now = loop.time()
                events = self._probes.without_answer(frame, self._core.receive(frame, now), now)
            await self._send_all(events)
            await self._send_all(self._probes.due(loop.time()))
            await self._write_all(self._withheld.released_at(loop.time()))
            if self._faults.read_interval:
                await self._fake.wait_leaving(self._faults.read_interval)
                if self._fake.is_leaving:  # a closing handshake would wait for everything that the client has queued
                    self._link.abort()

    def _deadline(self) -> float:
        waits = (self._core.next_deadline, self._probes.deadline, self._withheld.deadline)
        return min([self._expires, *(wait for wait in waits if wait is not None)])

    async def _expire(self) -> None:
        await self.send(error_event("session_expired"))
        await self._link.close(1001, MESSAGES["session_expired"])

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
        await self._link.write(struck)
        await self._write_all(self._withheld.released_by(event["type"]))
        await self._send_late_deltas(struck)

    async def _write_all(self, events: Sequence[Event]) -> None:
        for event in events:
            if not self._hanging:
                await self._link.write(event)

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
                await self._link.write(message(event) if callable(message) else message)
            case Change(change):
                return change(event)
            case Delay(seconds):
                await self._fake.wait_leaving(seconds)
            case Slow(sent, received):
                self._link.move(sent, received)
            case Behind(other, within):
                self._withheld.add(event, behind=other, due=asyncio.get_running_loop().time() + within)
                return None
            case Drop():
                return None
            case Hang():
                self._hanging = True
            case Close(code, reason):
                await self._link.close(code, reason)
            case Reset():
                await self._link.reset()
        return event

    async def _send_late_deltas(self, event: Event) -> None:
        if event["type"] == "response.output_audio.delta":
            self._last_delta = event
        elif event["type"] == "response.done" and event["response"]["status"] == "cancelled" and self._last_delta:
            for number in range(self._faults.late_deltas):
                await self._link.write({**self._last_delta, "event_id": f"event_late_{number}"})
