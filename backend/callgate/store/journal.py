"""The journal through which calls are recorded. Recording never waits and never raises, whatever the store does.

Entries wait in memory, in a bounded `Waiting`, and one task writes them in batches. While the database fails, the task
retries at growing intervals; entries that find no room in the meantime are lost, and counted.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from callgate.core.units import SECONDS
from callgate.errors import StoreError, StoreRefused

from .database import Database, Work
from .queries import write_batch
from .records import CallRecord, StoredTurn
from .waiting import Batch, CallEnded, CallEvent, CallResumed, CallStarted, SaidTurn, Waiting

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalLimits:
    """How many entries may wait, and how they are written."""

    entries: int = 10_000
    bytes: int = 8 * 1024 * 1024
    batch: int = 100  # entries in one transaction
    write_deadline: float = 5 * SECONDS
    # Between two batches. What arrives within it is written as one, because a transaction costs more than its contents.
    pause: float = 0.5 * SECONDS
    first_retry: float = 0.5 * SECONDS
    last_retry: float = 15 * SECONDS


DEFAULT_LIMITS: Final = JournalLimits()


class Journal:
    """The journal of one process. ``database``: None if the store is off; then nothing is kept, and nothing is lost.

    ``check_in``: records that the process is alive, before any record that it holds a call.
    """

    def __init__(
        self,
        database: Database | None,
        process: str,
        check_in: Work[None],
        limits: JournalLimits = DEFAULT_LIMITS,
    ) -> None:
        self._database = database
        self._process = process
        self._check_in = check_in
        self._limits = limits
        self._waiting = Waiting(limits.entries, limits.bytes)
        self._writing = Batch((), ())
        self._refused = 0
        self._told = 0  # the number of losses that were logged
        self._work = asyncio.Event()  # there are entries to write
        self._hurry = asyncio.Event()  # they should be written without a pause
        self._round = asyncio.Event()  # set when a batch was tried, and then replaced
        self._task: asyncio.Task[None] | None = None

    # Recording.

    def call_started(self, record: CallRecord) -> None:
        """Record the start of a call. This process holds it, whatever ``record.process`` says."""
        self._put(CallStarted(replace(record, process=self._process)))

    def turn(self, call_sid: str, turn: StoredTurn) -> None:
        """Record a turn, or a new version of it (see `StoredTurn`)."""
        if self._database is not None:
            self._waiting.put_turn(SaidTurn(call_sid, turn))
            self._work.set()

    def call_ended(
        self,
        call_sid: str,
        at: datetime,
        outcome: str,
        reason: str,
        receipt: Mapping[str, Any] | None = None,
        next_step: Mapping[str, Any] | None = None,
    ) -> None:
        """Record the end of a call; if the call is resumed, `call_resumed` undoes it. ``next_step``: what Twilio is to
        do next.

        An end without a receipt, which Twilio may report to any process, never replaces another end. The entry is
        written without a pause, because Twilio may at once ask another process what comes next.
        """
        self._put(CallEnded(call_sid, at, outcome, reason, receipt, next_step))
        self._hurry.set()

    def call_resumed(self, call_sid: str, at: datetime, *, interrupted: bool = True) -> None:
        """Record that this process resumes a call that was interrupted, or that the agent had left."""
        self._put(CallResumed(call_sid, at, self._process, interrupted))

    # State.

    @property
    def waiting(self) -> int:
        """The number of entries that are not written yet."""
        return len(self._waiting) + len(self._writing)

    @property
    def lost(self) -> int:
        """The number of entries that will never be written."""
        return self._waiting.lost + self._refused

    @property
    def failure(self) -> str | None:
        """Why calls are not being kept, in one sentence; None while they are."""
        if self._database is None or self._database.failure is None:
            return None
        lost = f", {self.lost} are lost" if self.lost else ""
        return f"Calls are not being kept: {self._database.failure}. {self.waiting} entries wait{lost}."

    def of_call(self, call_sid: str) -> Batch:
        """Return the entries of one call that are not written yet, in order."""
        writing, waiting = self._writing, self._waiting.of_call(call_sid)
        return Batch(
            tuple(event for event in writing.events if event.call_sid == call_sid) + waiting.events,
            tuple(said for said in writing.turns if said.call_sid == call_sid) + waiting.turns,
        )

    async def flush(self, deadline: float, call_sid: str | None = None) -> bool:
        """Wait up to ``deadline`` seconds until all entries, or all of one call, are written. Return whether they
        are."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(deadline):
                while len(self.of_call(call_sid)) if call_sid else self.waiting:
                    self._hurry.set()
                    await self._round.wait()
        return not (len(self.of_call(call_sid)) if call_sid else self.waiting)

    # Writing.

    def start(self) -> None:
        """Start writing, until `close`."""
        if self._database is not None:
            self._task = asyncio.create_task(self._run(self._database))

    async def close(self, deadline: float) -> None:
        """Write the remaining entries, for ``deadline`` seconds at most. What is left then is lost."""
        if self._task is None:
            return
        if not await self.flush(deadline):
            why = self._database and self._database.failure
            log.error("%d entries of calls are lost at the end: %s", self.waiting, why or "they came too late")
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    def _put(self, event: CallEvent) -> None:
        if self._database is not None:
            self._waiting.put_event(event)
            self._work.set()

    async def _run(self, database: Database) -> None:
        retry = self._limits.first_retry
        while True:
            await self._work.wait()
            self._hurry.clear()
            self._writing = self._waiting.take(self._limits.batch)
            try:
                self._refused += await self._write(database, self._writing)
            except StoreError:
                self._waiting.put_back(self._writing)
                pause, retry = retry, min(2 * retry, self._limits.last_retry)
            else:
                is_full = len(self._writing) == self._limits.batch  # more than one batch waited
                pause, retry = 0.0 if is_full else self._limits.pause, self._limits.first_retry
                self._tell_losses()
            self._writing = Batch((), ())
            if not self._waiting:
                self._work.clear()
            self._finish_round()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._hurry.wait()

    async def _write(self, database: Database, batch: Batch) -> int:
        """Write a batch. Return how many of its entries the database refused. Raises `StoreError` if the database
        fails."""
        try:
            await database.write(lambda connection: self._transact(connection, batch), self._limits.write_deadline)
        except StoreRefused as exc:
            if len(batch) > 1:
                return sum([await self._write(database, entry) for entry in batch.apart()])
            log.error("An entry of a call can't be kept as it is: %s", exc)
            lesser = _without_receipt(batch)
            return 1 if lesser is None else await self._write(database, lesser)
        return 0

    async def _transact(self, connection: AsyncConnection, batch: Batch) -> None:
        if batch.events:
            await self._check_in(connection)
        await write_batch(connection, batch)

    def _tell_losses(self) -> None:
        if self.lost > self._told:
            log.error("%d entries of calls are lost: the store did not accept them in time or at all", self.lost)
            self._told = self.lost

    def _finish_round(self) -> None:
        self._round.set()
        self._round = asyncio.Event()


def _without_receipt(batch: Batch) -> Batch | None:
    """Return the batch without the receipt if it is the end of a call that has one; else None."""
    match batch.events:
        case (CallEnded(receipt=receipt) as ended,) if receipt is not None:
            return Batch((replace(ended, receipt=None),), ())
    return None
