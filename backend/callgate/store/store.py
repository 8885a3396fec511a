"""The store of a service: its journal, what a call that is taken up again needs, and the upkeep.

A service starts, answers calls and stops whether its store works or not. Each start of a process has an identity of
its own, which its calls bear. It beats while it lives. A call whose process has been replaced or has stopped is
abandoned, and may be claimed; one whose process is only silent is not, as that may serve its calls and be unable to
write.
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

ABANDONED_LIMIT: Final = 200  # calls told of at once
SWEEP_SLICE: Final = 200  # calls deleted in one transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTimes:
    """How often, how long; in seconds."""

    beat: float = 10 * SECONDS
    # A process that has not beaten for so long is gone, and forgotten. No call lasts longer.
    unseen: float = 24 * HOURS
    sweep: float = 1 * HOURS
    # Both together are how long a caller who is taken up again waits for a store that fails.
    flush_deadline: float = 0.25 * SECONDS
    known_deadline: float = 0.1 * SECONDS  # a caller who comes in waits so long for a store that is slow
    read_deadline: float = 0.75 * SECONDS
    message_deadline: float = 1.5 * SECONDS  # twice: a caller waits to hear whether their message is kept
    write_deadline: float = 5 * SECONDS
    close_deadline: float = 5 * SECONDS


DEFAULT_TIMES: Final = StoreTimes()


class Store(Archive):
    """The store of one process, between ``async with`` and its end. Entering never fails and never waits."""

    def __init__(
        self,
        config: Config,
        *,
        name: str | None = None,
        limits: JournalLimits = DEFAULT_LIMITS,
        times: StoreTimes = DEFAULT_TIMES,
    ) -> None:
        """``name``: what the process is called, the same after a restart, and no other's; its host and port by
        default."""
        super().__init__(Database(place_of(config), serves=True) if config.store else None)
        self.name = name or f"{socket.gethostname()}:{config.port or os.getpid()}"
        self.process = f"{self.name}/{secrets.token_hex(4)}"  # this start of it
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
        await asyncio.gather(*self._upkeep)  # what they are at has its deadline
        await self.journal.close(self._times.close_deadline)
        if self._database is not None and self._database.failure is None:
            with contextlib.suppress(StoreError):  # it is found silent, then
                await self._write(lambda connection: queries.leave(connection, self.process))
        await super().__aexit__(kind, exc, trace)

    # Calls that are taken up again. All raise `StoreError`, within a deadline.

    async def memory(self, call_sid: str) -> StoredCall | None:
        """What is known of a call, in the database or still waiting for it; None where nothing is."""
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
        """Whether the call is on record. One whose beginning still waits to be written may be missed. A store that
        fails is not asked. Raises `StoreError`."""
        if (failure := self._opened().failure) is not None:
            raise StoreError(failure)
        try:
            async with asyncio.timeout(self._times.known_deadline):
                return await self._read(
                    lambda connection: queries.is_kept(connection, call_sid), self._times.read_deadline
                )
        except TimeoutError as exc:  # it is slow, which is no failure yet
            raise StoreError("it was not answered at once") from exc

    async def abandoned(self) -> list[CallRecord]:
        """The calls that have not ended and whose process is gone, the newest first.

        That a process was replaced by the next start of the same, or has stopped, is known at once. One that is only
        silent keeps its calls for `StoreTimes.unseen`: it may live, and its store be what fails. Is it gone, TwiML
        brings its callers back by itself.
        """
        unseen = timedelta(seconds=self._times.unseen)
        return await self._write_seen(
            lambda connection: queries.find_abandoned(connection, self.process, unseen, ABANDONED_LIMIT)
        )

    async def claim(self, call_sid: str, held_by: str) -> bool:
        """Take an abandoned call over from the process that held it (`CallRecord.process`). Of several processes that
        try, one gets True. Asked with its own `process`: whether it holds the call still, and it has not ended."""
        await self.journal.flush(self._times.flush_deadline, call_sid)  # what is known of it here counts, too
        return await self._write_seen(lambda connection: queries.claim(connection, call_sid, held_by, self.process))

    # What a caller is told of: it is kept, or it is not.

    async def keep_message(self, call_sid: str, message: StoredMessage) -> None:
        """Keep what a caller left. Raises `StoreError`, within a deadline."""
        if not await self.journal.flush(self._times.message_deadline, call_sid):  # it needs its call
            raise StoreError(self.journal.failure or "the store does not answer in time")
        await self._opened().write(
            lambda connection: queries.write_message(connection, call_sid, message), self._times.message_deadline
        )

    async def _write(self, work: Work[T]) -> T:
        return await self._opened().write(work, self._times.write_deadline)

    # Upkeep.

    async def _write_seen(self, work: Work[T]) -> T:
        """Do ``work`` where all know by then that this process lives."""

        async def checked_in(connection: AsyncConnection) -> T:
            await self._check_in(connection)
            return await work(connection)

        result = await self._write(checked_in)
        self._checked_in = True
        return result

    async def _check_in(self, connection: AsyncConnection) -> None:
        """Be seen. At first, whatever had this name before is known to be gone."""
        if not self._checked_in:
            await queries.replace_process(connection, self.process, self.name)
        await queries.beat(connection, self.process, self.name)

    async def _beat(self) -> None:
        while True:
            try:
                await self._write_seen(_nothing)
            except StoreError as exc:
                log.debug("No beat: %s", exc)
            if await self._stops_within(self._times.beat):
                return

    async def _sweep(self) -> None:
        while True:
            try:
                if deleted := await self.sweep(datetime.now(UTC)):
                    log.info("%d calls are deleted: they ended longer ago than RETENTION_DAYS", deleted)
                pause = self._times.sweep
            except StoreError as exc:
                log.debug("Old calls are not deleted: %s", exc)
                pause = self._times.beat
            if await self._stops_within(pause):
                return

    async def _stops_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        return self._stopping.is_set()

    async def sweep(self, now: datetime) -> int:
        """Delete calls that are older than ``RETENTION_DAYS``, and processes long gone. How many calls went."""
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
    """Nothing but to be seen."""
