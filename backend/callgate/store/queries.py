"""All SQL statements, as functions of a connection that is in a transaction. They serve both databases."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Row, Select, Table, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from callgate.core.receipt import added

from .records import CallRecord, StoredCall, StoredMessage, StoredTurn
from .schema import UtcDateTime, calls, messages, processes, turns
from .waiting import Batch, CallEnded, CallEvent, CallResumed, CallStarted, SaidTurn

Insert = sqlite.Insert | postgresql.Insert  # two classes with the same interface

CALL_FIELDS: Final = tuple(column.name for column in calls.columns)
_NOW: Final = select(func.now(type_=UtcDateTime()))
_KEPT: Final = select(calls.c.call_sid).where(calls.c.call_sid == bindparam("call_sid"))
MESSAGE_FIELDS: Final = tuple(column.name for column in messages.columns if column.name != "call_sid")
TURN_FIELDS: Final = tuple(column.name for column in turns.columns if column.name not in ("call_sid", "key"))


# Writing calls.


async def write_batch(connection: AsyncConnection, batch: Batch) -> None:
    """Write events, then turns. Writing a batch a second time changes nothing."""
    for event in batch.events:
        await _write_event(connection, event)
    if batch.turns:
        await connection.execute(_turn_upsert(connection.dialect.name), [_turn_values(said) for said in batch.turns])


async def _write_event(connection: AsyncConnection, event: CallEvent) -> None:
    this_call = calls.c.call_sid == event.call_sid
    match event:
        case CallStarted(record=record):
            values = {name: _storable(getattr(record, name)) for name in CALL_FIELDS}
            await connection.execute(_call_upsert(connection.dialect.name), values)
        case CallResumed(at=at, process=process, interrupted=interrupted):
            is_new = or_(calls.c.resumed_at.is_(None), calls.c.resumed_at < at)
            open_again: dict[str, Any] = {
                "process": process,
                "resumed_at": at,
                "ended_at": None,
                "outcome": None,
                "reason": None,
                "next_step": None,
            }
            open_again["resumes"] = calls.c.resumes + int(interrupted)
            await connection.execute(update(calls).where(this_call, is_new).values(open_again))
        case CallEnded(at=at, outcome=outcome, reason=reason, receipt=receipt, next_step=next_step):
            ended = {"ended_at": at, "outcome": outcome, "reason": _storable(reason)}
            ended["next_step"] = next_step
            if receipt is not None:
                before = select(calls.c.ended_at, calls.c.receipt).where(this_call).with_for_update()
                kept = (await connection.execute(before)).one_or_none()
                if kept is not None and kept.ended_at != at:  # otherwise this end is written already
                    ended["receipt"] = added(kept.receipt, receipt)
            not_resumed_since = or_(calls.c.resumed_at.is_(None), calls.c.resumed_at <= at)
            end = update(calls).where(this_call, not_resumed_since).values(ended)
            await connection.execute(end if receipt is not None else end.where(calls.c.ended_at.is_(None)))


async def write_message(connection: AsyncConnection, call_sid: str, message: StoredMessage) -> None:
    """Write a message left in a stored call. Writing it a second time changes nothing."""
    values = {name: _storable(getattr(message, name)) for name in MESSAGE_FIELDS}
    insert = _insert(connection.dialect.name, messages).values(call_sid=call_sid, **values)
    await connection.execute(insert.on_conflict_do_nothing())


@functools.cache
def _call_upsert(dialect: str) -> Insert:
    """Insert a call. Twilio may send its first webhook twice: then the second process holds the call."""
    upsert = _insert(dialect, calls)
    return upsert.on_conflict_do_update(index_elements=[calls.c.call_sid], set_={"process": upsert.excluded.process})


@functools.cache
def _turn_upsert(dialect: str) -> Insert:
    """Insert or update turns, but only of calls that exist: a call that was deleted meanwhile stays deleted."""
    given = select(*(bindparam(column.name, type_=column.type) for column in turns.columns))
    of_a_call = given.where(exists().where(calls.c.call_sid == bindparam("call_sid")))
    upsert = _insert(dialect, turns).from_select([column.name for column in turns.columns], of_a_call)
    changes = {name: upsert.excluded[name] for name in ("role", "text", "heard_ms", "cut")}
    return upsert.on_conflict_do_update(index_elements=[turns.c.call_sid, turns.c.key], set_=changes)


def _insert(dialect: str, table: Table) -> Insert:
    return postgresql.insert(table) if dialect == "postgresql" else sqlite.insert(table)


def _turn_values(said: SaidTurn) -> dict[str, Any]:
    values = {name: _storable(getattr(said.turn, name)) for name in TURN_FIELDS}
    return {"call_sid": said.call_sid, "key": said.turn.key, **values}


def _storable(value: Any) -> Any:
    """Remove from a text what PostgreSQL can't store: NUL, and lone surrogates, which may come from JSON."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode("utf-8")


# Reading.


async def read_transcript(connection: AsyncConnection, call_sid: str) -> StoredCall | None:
    """Return a call with its turns and messages; None if there is no such call."""
    row = (await connection.execute(select(calls).where(calls.c.call_sid == call_sid))).one_or_none()
    if row is None:
        return None
    said = await connection.execute(
        select(turns).where(turns.c.call_sid == call_sid).order_by(turns.c.number, turns.c.at, turns.c.key)
    )
    left = await connection.execute(
        select(messages).where(messages.c.call_sid == call_sid).order_by(messages.c.at, messages.c.key)
    )
    return StoredCall(_call(row), tuple(_turn(row) for row in said), tuple(_message(row) for row in left))


async def is_kept(connection: AsyncConnection, call_sid: str) -> bool:
    """Whether the call is stored."""
    found = await connection.execute(_KEPT, {"call_sid": call_sid})
    return found.one_or_none() is not None


async def read_calls(connection: AsyncConnection, limit: int, since: datetime | None) -> list[CallRecord]:
    """Return the latest calls, newest first; ``since``: only those that started then or later."""
    query = select(calls).order_by(calls.c.started_at.desc(), calls.c.call_sid).limit(limit)
    if since is not None:
        query = query.where(calls.c.started_at >= since)
    return [_call(row) for row in await connection.execute(query)]


async def count_messages(connection: AsyncConnection, call_sids: Sequence[str]) -> dict[str, int]:
    """Return how many messages were left in each of these calls; calls with none are omitted."""
    count = select(messages.c.call_sid, func.count()).where(messages.c.call_sid.in_(call_sids))
    found = await connection.execute(count.group_by(messages.c.call_sid))
    return {row[0]: row[1] for row in found}


def _call(row: Row[Any]) -> CallRecord:
    return CallRecord(**{name: getattr(row, name) for name in CALL_FIELDS})


def _message(row: Row[Any]) -> StoredMessage:
    return StoredMessage(**{name: getattr(row, name) for name in MESSAGE_FIELDS})


def _turn(row: Row[Any]) -> StoredTurn:
    return StoredTurn(**{name: getattr(row, name) for name in TURN_FIELDS})


# Processes, and the calls they leave behind. All times are from the database's clock, as machines' clocks may differ.


async def beat(connection: AsyncConnection, process: str, name: str) -> None:
    """Record that the process is alive."""
    upsert = _insert(connection.dialect.name, processes)
    upsert = upsert.values(process=process, name=name, seen_at=await _now(connection))
    seen = {"seen_at": upsert.excluded.seen_at}
    await connection.execute(upsert.on_conflict_do_update(index_elements=[processes.c.process], set_=seen))


async def replace_process(connection: AsyncConnection, process: str, name: str) -> None:
    """Record that the process starts: any earlier process of the same name is gone."""
    await connection.execute(delete(processes).where(processes.c.name == name, processes.c.process != process))


async def leave(connection: AsyncConnection, process: str) -> None:
    """Record that the process ends and holds no more calls."""
    await connection.execute(delete(processes).where(processes.c.process == process))


async def forget_processes(connection: AsyncConnection, unseen: timedelta) -> None:
    """Delete the processes that have not been seen for ``unseen``."""
    await connection.execute(delete(processes).where(processes.c.seen_at < await _now(connection) - unseen))


async def find_abandoned(connection: AsyncConnection, process: str, unseen: timedelta, limit: int) -> list[CallRecord]:
    """Return calls that have not ended and whose process is gone: replaced, stopped, or not seen for ``unseen``.
    ``process``: the asking process, whose own calls are excluded."""
    alive = select(processes.c.process).where(processes.c.seen_at >= await _now(connection) - unseen)
    query = (
        select(calls)
        .where(calls.c.ended_at.is_(None), calls.c.process != process, calls.c.process.not_in(alive))
        .order_by(calls.c.started_at.desc())
        .limit(limit)
    )
    return [_call(row) for row in await connection.execute(query)]


async def claim(connection: AsyncConnection, call_sid: str, held_by: str, process: str) -> bool:
    """Hand a call over from ``held_by`` to ``process``. Return whether that succeeded; of several claimants, only one
    succeeds."""
    taken = await connection.execute(
        update(calls)
        .where(calls.c.call_sid == call_sid, calls.c.process == held_by, calls.c.ended_at.is_(None))
        .values(process=process)
    )
    return taken.rowcount == 1


async def _now(connection: AsyncConnection) -> datetime:
    now: datetime = (await connection.execute(_NOW)).scalar_one()
    return now


# Deleting.


async def delete_call(connection: AsyncConnection, call_sid: str) -> int | None:
    """Delete a call. Return how many turns it had; None if there is no such call."""
    count = await connection.scalar(select(func.count()).where(turns.c.call_sid == call_sid))
    deleted = await connection.execute(delete(calls).where(calls.c.call_sid == call_sid))
    return count if deleted.rowcount else None


async def delete_before(connection: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete up to ``limit`` calls that ended before the time ``before``, or never ended and started before it. Return
    how many."""
    never_ended = calls.c.ended_at.is_(None) & (calls.c.started_at < before)
    old: Select[tuple[str]] = select(calls.c.call_sid).where(or_(calls.c.ended_at < before, never_ended)).limit(limit)
    return (await connection.execute(delete(calls).where(calls.c.call_sid.in_(old)))).rowcount
