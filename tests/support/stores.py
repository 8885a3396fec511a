"""Calls for a store to keep, and a store that retries quickly."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from callgate.config.settings import Config
from callgate.store import CallRecord, JournalLimits, Store, StoredMessage, StoredTurn, StoreTimes
from callgate.store.database import Database
from callgate.store.sqlite_or_postgres import place_of

T = TypeVar("T")

TIMEOUT = 20.0  # seconds, for something that normally happens at once
START = datetime(2126, 11, 23, 10, 0, 0, 123456, tzinfo=UTC)  # late enough that the clean-up does not consider it old
QUICK = JournalLimits(pause=0.001, first_retry=0.01, last_retry=0.05)
PATIENT = StoreTimes(
    flush_deadline=TIMEOUT, known_deadline=TIMEOUT, read_deadline=TIMEOUT, message_deadline=TIMEOUT,
    write_deadline=TIMEOUT, close_deadline=TIMEOUT,
)  # fmt: skip
CALLER, CALLED = "+15551230001", "+15551230002"


def at(seconds: float) -> datetime:
    """Return the time this many seconds after the start of a call."""
    return START + timedelta(seconds=seconds)


def record(call_sid: str = "CA1", **values: Any) -> CallRecord:
    """Return the record of an incoming call."""
    known = {"account_sid": "AC1", "direction": "inbound", "from_number": CALLER, "to_number": CALLED}
    return CallRecord(**{"call_sid": call_sid, "started_at": START, **known, **values})


def turn(number: int, text: str, **values: Any) -> StoredTurn:
    """Return the caller's turn, or the agent's for odd numbers."""
    role = "agent" if number % 2 else "caller"
    return StoredTurn(
        **{"number": number, "at": at(number), "role": role, "text": text, "item_id": f"item_{number}", **values}
    )


def message(key: str, **values: Any) -> StoredMessage:
    """Return a message that a caller leaves a minute into the call."""
    left = {"text": "The parcel is broken.\nCall me back.", "name": "Ada", "callback": CALLER}
    return StoredMessage(**{"key": key, "at": at(60), **left, **values})


@contextlib.asynccontextmanager
async def store_of(
    config: Config, name: str = "one", limits: JournalLimits = QUICK, **times: float
) -> AsyncIterator[Store]:
    """Open the store of a service."""
    async with Store(
        config, name=name, limits=limits, times=StoreTimes(**{"close_deadline": 0.2, "read_deadline": TIMEOUT, **times})
    ) as store:
        yield store


@contextlib.asynccontextmanager
async def database_of(config: Config) -> AsyncIterator[Database]:
    """Open the database of a service as another program would."""
    database = Database(place_of(config), serves=False)
    try:
        yield database
    finally:
        await database.close()


async def flushed(store: Store) -> None:
    """Return when everything has been written."""
    assert await store.journal.flush(TIMEOUT), store.journal.failure


async def until(condition: Callable[[], Awaitable[T]]) -> T:
    """Wait until the condition holds, and return its value."""
    async with asyncio.timeout(TIMEOUT):
        while not (found := await condition()):  # noqa: ASYNC110 (a database does not notify)
            await asyncio.sleep(0.005)
        return found
