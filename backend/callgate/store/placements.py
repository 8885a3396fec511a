"""Requests for outbound calls: counted against the limits per minute and per day, and known by their idempotency keys.

The counts outlive a process and are shared by all processes on the database. No phone number is kept here. Without a
database, calls are counted in memory, from the start of the process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, Protocol

from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from callgate.core.units import SECONDS

from .database import Database
from .schema import UtcDateTime, placements

DEADLINE: Final = 5 * SECONDS
MINUTE: Final = timedelta(minutes=1)
DAY: Final = timedelta(days=1)

State = Literal["asked", "placed", "refused"]


@dataclass(frozen=True, slots=True)
class Caps:
    """How many calls may be placed."""

    per_minute: int
    per_day: int


@dataclass(frozen=True, slots=True)
class Placement:
    """A request to place a call under a key. ``state``: whether the call was placed; ``asked`` means that this is not
    known yet, or never will be. ``fingerprint``: identifies the content of the request."""

    key: str
    fingerprint: str
    asked_at: datetime
    state: State = "asked"
    call_sid: str | None = None


@dataclass(frozen=True, slots=True)
class Exhausted:
    """No more calls for now. ``per``: which limit is reached; ``retry_after``: in seconds."""

    per: Literal["minute", "day"]
    retry_after: int


Answer = Placement | Exhausted | None
"""The earlier request under the key; or that a limit is reached; or None: the call may be placed and is counted."""


class Placements(Protocol):
    """All requests for outbound calls. Every method raises `StoreError`."""

    async def reserve(self, key: str, fingerprint: str, caps: Caps) -> Answer:
        """Count one more call, if it may be placed. Of simultaneous requests with the same key, only one may."""
        ...

    async def settle(self, key: str, state: State, call_sid: str | None = None) -> None:
        """Record the result. A refused call still counts for the minute, but not for the day."""
        ...

    async def has(self, call_sid: str) -> bool:
        """Whether this service placed the call in the last day."""
        ...


class RememberedPlacements:
    """Requests kept in memory."""

    def __init__(self) -> None:
        self._kept: dict[str, Placement] = {}

    async def reserve(self, key: str, fingerprint: str, caps: Caps) -> Answer:
        now = datetime.now(UTC)
        self._kept = {name: kept for name, kept in self._kept.items() if kept.asked_at > now - DAY}
        known = self._kept.get(key)
        if known is not None and known.state != "refused":
            return known
        lately = [kept.asked_at for kept in self._kept.values() if kept.asked_at > now - MINUTE]
        today = [kept.asked_at for kept in self._kept.values() if kept.state != "refused"]
        if exhausted := _exhausted(
            caps, now, (len(lately), min(lately, default=now)), (len(today), min(today, default=now))
        ):
            return exhausted
        self._kept[key] = Placement(key, fingerprint, now)
        return None

    async def settle(self, key: str, state: State, call_sid: str | None = None) -> None:
        self._kept[key] = replace(self._kept[key], state=state, call_sid=call_sid)

    async def has(self, call_sid: str) -> bool:
        return any(kept.call_sid == call_sid for kept in self._kept.values())


class KeptPlacements:
    """Requests kept in a database, whose clock is used."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, key: str, fingerprint: str, caps: Caps) -> Answer:
        return await self._database.write(lambda connection: _reserve(connection, key, fingerprint, caps), DEADLINE)

    async def settle(self, key: str, state: State, call_sid: str | None = None) -> None:
        async def settle(connection: AsyncConnection) -> None:
            outcome = {"state": state, "call_sid": call_sid}
            await connection.execute(update(placements).where(placements.c.key == key).values(outcome))

        await self._database.write(settle, DEADLINE)

    async def has(self, call_sid: str) -> bool:
        query = select(func.count()).where(placements.c.call_sid == call_sid)

        async def has(connection: AsyncConnection) -> bool:
            return bool(await connection.scalar(query))

        return await self._database.read(has, DEADLINE)


async def _reserve(connection: AsyncConnection, key: str, fingerprint: str, caps: Caps) -> Answer:
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        await connection.execute(text("LOCK TABLE placements IN EXCLUSIVE MODE"))
    now: datetime = (await connection.execute(select(func.now(type_=UtcDateTime())))).scalar_one()
    await connection.execute(placements.delete().where(placements.c.asked_at <= now - DAY))
    row = (await connection.execute(select(placements).where(placements.c.key == key))).one_or_none()
    if row is not None and row.state != "refused":
        return Placement(row.key, row.fingerprint, row.asked_at, row.state, row.call_sid)
    window = select(func.count(), func.min(placements.c.asked_at))
    lately = (await connection.execute(window.where(placements.c.asked_at > now - MINUTE))).one()
    today = (await connection.execute(window.where(placements.c.state != "refused"))).one()
    if exhausted := _exhausted(caps, now, (lately[0], lately[1] or now), (today[0], today[1] or now)):
        return exhausted
    await connection.execute(placements.delete().where(placements.c.key == key))
    values = {"key": key, "fingerprint": fingerprint, "asked_at": now, "state": "asked", "call_sid": None}
    await connection.execute(placements.insert().values(values))
    return None


def _exhausted(
    caps: Caps, now: datetime, lately: tuple[int, datetime], today: tuple[int, datetime]
) -> Exhausted | None:
    """Return which limit is reached, if any. ``lately``, ``today``: the number of requests in the last minute and in
    the last day, and the time of the oldest."""
    if today[0] >= caps.per_day:
        return Exhausted("day", _seconds_until(today[1] + DAY, now))
    if lately[0] >= caps.per_minute:
        return Exhausted("minute", _seconds_until(lately[1] + MINUTE, now))
    return None


def _seconds_until(then: datetime, now: datetime) -> int:
    return max(1, round((then - now).total_seconds()))
