"""The store of a service: its journal, what a resumed call needs, and the upkeep.

A service starts, answers calls and stops whether its store works or not. Each start of a process has a new identity,
which is recorded with its calls, and a heartbeat. A call whose process was replaced or has stopped is abandoned, and
may be claimed. A call whose process is only silent is not abandoned: that process may be serving the call and just be
unable to write.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import socket
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncConnection

from callgate.config.settings import Config
from callgate.core.units import HOURS, SECONDS
from callgate.errors import StoreError

from . import queries
from .archive import Archive
from .database import Database, T, Work
from .journal import DEFAULT_LIMITS, Journal, JournalLimits
from .placements import KeptPlacements, Placements, RememberedPlacements
from .records import CallRecord, StoredCall, StoredMessage
from .sqlite_or_postgres import place_of
from .waiting import merged

log = logging.getLogger(__name__)

ABANDONED_LIMIT: Final = 200  # calls returned at once
SWEEP_SLICE: Final = 200  # calls deleted in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTimes:
    """Intervals and deadlines, in seconds."""

    beat: float = 10 * SECONDS
    # A process without a heartbeat for this long is gone, and is deleted. No call lasts longer.
    unseen: float = 24 * HOURS
    sweep: float = 1 * HOURS
    # The caller of a resumed call waits up to the sum of flush_deadline and read_deadline for a store that fails.
    flush_deadline: float = 0.25 * SECONDS
    known_deadline: float = 0.1 * SECONDS  # how long a new caller waits for a slow store
    read_deadline: float = 0.75 * SECONDS
    message_deadline: float = 1.5 * SECONDS  # applies twice while a caller waits to hear whether a message was kept
    write_deadline: float = 5 * SECONDS
    close_deadline: float = 5 * SECONDS


DEFAULT_TIMES: Final = StoreTimes()


class Store(Archive):
    """The store of one process, used as an async context manager. Entering it never fails and never waits."""

    def __init__(
        self,
        config: Config,
        *,
        name: str | None = None,
        limits: JournalLimits = DEFAULT_LIMITS,
        times: StoreTimes = DEFAULT_TIMES,
    ) -> None:
        """``name``: the process's name, unique, and the same after a restart; host and port by default."""
        super().__init__(Database(place_of(config), serves=True) if config.store else None)
        self.name = name or f"{socket.gethostname()}:{config.port or os.getpid()}"
        self.process = f"{self.name}/{secrets.token_hex(4)}"  # new at each start
        self.journal = Journal(self._database, self.process, self._check_in, limits)
        self.placements: Placements = KeptPlacements(self._database) if self._database else RememberedPlacements()
        self._retention = timedelta(days=config.retention_days) if config.retention_days else None
        self._times = times
        self._checked_in = False
        self._stopping = asyncio.Event()
        self._upkeep: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self.journal.start()
        if self._database is not None:
            self._upkeep = [asyncio.create_task(self._beat()), asyncio.create_task(self._sweep())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        await asyncio.gather(*self._upkeep)  # each of their steps has a deadline
        await self.journal.close(self._times.close_deadline)
        if self._database is not None and self._database.failure is None:
            with contextlib.suppress(StoreError):  # if this fails, the process counts as silent
                await self._write(lambda connection: queries.leave(connection, self.process))
        await super().__aexit__(kind, exc, trace)

    # Resuming calls. All methods raise `StoreError`, within a deadline.

    async def memory(self, call_sid: str) -> StoredCall | None:
        """Return what is known of a call, from the database and from entries not written yet; None if nothing is."""
        await self.journal.flush(self._times.flush_deadline, call_sid)
        waiting = self.journal.of_call(call_sid)
        try:
            kept = await self._read(
                lambda connection: queries.read_transcript(connection, call_sid), self._times.read_deadline
            )
        except StoreError:
            if (alone := merged(None, waiting)) is None:
                raise
            return alone
        return merged(kept, waiting)

    async def knows(self, call_sid: str) -> bool:
        """Whether the call is on record. A call whose start is not written yet may be missed. While the store fails, it
        is not queried. Raises `StoreError`."""
        if (failure := self._opened().failure) is not None:
            raise StoreError(failure)
        try:
            async with asyncio.timeout(self._times.known_deadline):
                return await self._read(
                    lambda connection: queries.is_kept(connection, call_sid), self._times.read_deadline
                )
        except TimeoutError as exc:  # slow, but not failing yet
            raise StoreError("the store did not answer at once") from exc

    async def abandoned(self) -> list[CallRecord]:
        """Return the calls that have not ended and whose process is gone, newest first.

        A process that was restarted or has stopped is known to be gone at once. A process that is only silent keeps its
        calls for `StoreTimes.unseen`, because it may be alive with a failing store. If it is gone, the TwiML brings its
        callers back by itself.
        """
        unseen = timedelta(seconds=self._times.unseen)
        return await self._write_seen(
            lambda connection: queries.find_abandoned(connection, self.process, unseen, ABANDONED_LIMIT)
        )

    async def claim(self, call_sid: str, held_by: str) -> bool:
        """Take over an abandoned call from the process that held it (`CallRecord.process`). Of several processes that
        try, only one gets True. With this store's own `process`: whether it still holds the call and the call has not
        ended."""
        await self.journal.flush(self._times.flush_deadline, call_sid)  # entries of the call not written yet count too
        return await self._write_seen(lambda connection: queries.claim(connection, call_sid, held_by, self.process))

    # Messages, about which the caller is told whether they were kept.

    async def keep_message(self, call_sid: str, message: StoredMessage) -> None:
        """Store a message that a caller left. Raises `StoreError`, within a deadline."""
        if not await self.journal.flush(self._times.message_deadline, call_sid):  # the call's row must exist
            raise StoreError(self.journal.failure or "the store does not answer in time")
        await self._opened().write(
            lambda connection: queries.write_message(connection, call_sid, message), self._times.message_deadline
        )

    async def _write(self, work: Work[T]) -> T:
        return await self._opened().write(work, self._times.write_deadline)

    # Upkeep.

    async def _write_seen(self, work: Work[T]) -> T:
        """Do ``work`` in a transaction that first records that this process is alive."""

        async def checked_in(connection: AsyncConnection) -> T:
            await self._check_in(connection)
            return await work(connection)

        result = await self._write(checked_in)
        self._checked_in = True
        return result

    async def _check_in(self, connection: AsyncConnection) -> None:
        """Record that this process is alive; the first time, also that any earlier one of its name is gone."""
        if not self._checked_in:
            await queries.replace_process(connection, self.process, self.name)
        await queries.beat(connection, self.process, self.name)

    async def _beat(self) -> None:
        while True:
            try:
                await self._write_seen(_nothing)
            except StoreError as exc:
                log.debug("The heartbeat can't be written: %s", exc)
            if await self._stops_within(self._times.beat):
                return

    async def _sweep(self) -> None:
        while True:
            try:
                if deleted := await self.sweep(datetime.now(UTC)):
                    log.info("%d calls are deleted: they ended longer ago than RETENTION_DAYS", deleted)
                pause = self._times.sweep
            except StoreError as exc:
                log.debug("Old calls can't be deleted: %s", exc)
                pause = self._times.beat
            if await self._stops_within(pause):
                return

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def sweep(self, now: datetime) -> int:
        """Delete calls older than ``RETENTION_DAYS``, and processes long gone. Return how many calls were deleted."""
        unseen = timedelta(seconds=self._times.unseen)
        await self._write(lambda connection: queries.forget_processes(connection, unseen))
        if self._retention is None:
            return 0
        before, total, deleted = now - self._retention, 0, SWEEP_SLICE
        while deleted == SWEEP_SLICE and not self._stopping.is_set():
            deleted = await self._write(lambda connection: queries.delete_before(connection, before, SWEEP_SLICE))
            total += deleted
        if total:
            await self._opened().forget_deleted(self._times.write_deadline)
        return total


async def _nothing(connection: AsyncConnection) -> None:
    """Do nothing: `Store._check_in` is all that is wanted."""
