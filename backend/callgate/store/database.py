"""One database: opened when first needed, every use within a deadline, a failure logged once.

A use that exceeds its deadline is abandoned at once, even if the driver still has to clean up, and its caller gets a
`StoreError`. Nothing here blocks the event loop: SQLite's work is done in threads, and so is a migration.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

from sqlalchemy import inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from callgate.core.units import SECONDS
from callgate.errors import StoreError, StoreRefused

from . import migrate
from .schema import REVISION
from .sqlite_or_postgres import CONNECTIONS, FAULTS, Place, is_refusal

log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[AsyncConnection], Awaitable[T]]
Use = Callable[[], Coroutine[Any, Any, T]]

OPEN_DEADLINE: Final = migrate.DEADLINE + 10 * SECONDS
STATEMENT_TIMEOUT: Final = 5 * SECONDS
CLOSE_DEADLINE: Final = 3 * SECONDS
WRITERS: Final = 1  # connections for writing: a write that hangs leaves the others free for reading


class Database:
    """The connections to a database.

    ``serves``: a service uses it, which creates it, runs the migrations, and logs failures.
    """

    def __init__(self, place: Place, *, serves: bool) -> None:
        self.place = place
        self.failure: str | None = None  # the last failure; None while the database works
        self._serves = serves
        self._engine = place.engine(STATEMENT_TIMEOUT)
        self._opening: asyncio.Task[None] | None = None
        self._identity: object = None  # of the database that was opened
        self._writers = asyncio.Semaphore(WRITERS)
        self._readers = asyncio.Semaphore(CONNECTIONS - WRITERS)
        self._leaving: set[asyncio.Task[Any]] = set()  # abandoned uses that have not ended yet

    async def read(self, work: Work[T], deadline: float) -> T:
        """Do ``work`` in a read-only transaction. Raises `StoreError`, after ``deadline`` seconds at most."""
        return await self._use(lambda: self._transact(work, begin="BEGIN"), self._readers, deadline)

    async def write(self, work: Work[T], deadline: float) -> T:
        """Do ``work`` in a transaction. Raises `StoreError`, after ``deadline`` seconds at most; the work may then have
        been committed or not. `StoreRefused`: the database works, but does not accept the data."""
        return await self._use(lambda: self._transact(work, begin="BEGIN IMMEDIATE"), self._writers, deadline)

    async def forget_deleted(self, deadline: float) -> None:
        """Remove the remains of deleted records from the database's files. Raises `StoreError`."""
        await self._use(self._forget_deleted, self._writers, deadline)

    async def close(self) -> None:
        """Close all connections. Those that can't be closed in time are abandoned."""
        if self._opening is not None:
            self._give_up(self._opening)
        for _ in range(2):  # a driver that waits for a statement it has cancelled needs a second cancellation
            if left := set(self._leaving):  # their connections can be closed only when they have ended
                await asyncio.wait(left, timeout=CLOSE_DEADLINE)
                for task in self._leaving & left:
                    self._give_up(task)
        closing = asyncio.create_task(self._engine.dispose())
        await asyncio.wait({closing}, timeout=CLOSE_DEADLINE)
        self._give_up(closing)

    async def _transact(self, work: Work[T], begin: str) -> T:
        await self._opened()
        async with self._engine.connect() as connection:
            await connection.execution_options(begin=begin)
            async with connection.begin():
                return await work(connection)

    async def _forget_deleted(self) -> None:
        await self._opened()
        async with self._engine.connect() as connection:
            await self.place.forget_deleted(connection)

    async def _use(self, use: Use[T], places: asyncio.Semaphore, deadline: float) -> T:
        try:
            result = await self._within(deadline, use, places)
        except StoreRefused:
            raise
        except StoreError as exc:
            self._fails(str(exc))
            raise
        self._works()
        return result

    async def _within(self, deadline: float, use: Use[T], places: asyncio.Semaphore) -> T:
        until = asyncio.get_running_loop().time() + deadline
        try:
            async with asyncio.timeout_at(until):
                await places.acquire()
        except TimeoutError as exc:
            raise StoreError(self.place.explain(exc)) from exc
        task = asyncio.create_task(use())
        task.add_done_callback(lambda _: places.release())
        try:
            await asyncio.wait({task}, timeout=max(0, until - asyncio.get_running_loop().time()))
        finally:
            if not task.done():
                self._give_up(task)
        if not task.done():
            raise StoreError(self.place.explain(TimeoutError()))
        try:
            return task.result()
        except StoreError:
            raise
        except Exception as exc:  # whatever a driver raises is a failure of the store, never of the call
            if not isinstance(exc, FAULTS):
                log.error("The store fails with an unexpected error", exc_info=exc)
            raise (StoreRefused if is_refusal(exc) else StoreError)(self.place.explain(exc)) from exc

    def _give_up(self, task: asyncio.Task[Any]) -> None:
        """Stop waiting for a use; cancel it if that is safe."""
        if self.place.may_be_cancelled:
            task.cancel()
        self._leaving.add(task)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[Any]) -> None:
        self._leaving.discard(task)
        if not task.cancelled() and (exc := task.exception()) is not None:
            log.debug("An abandoned use of the store failed: %s", self.place.explain(exc))

    # Opening.

    async def _opened(self) -> None:
        """Wait until the database is open. The opening goes on even if this caller gives up."""
        opening = self._opening
        if opening is not None and opening.done() and await self._was_replaced() and self._opening is opening:
            # What is written to the old file, which has no name any more, is lost.
            if self._serves:
                log.warning("The store's file was replaced or deleted: it is opened anew")
            self._opening = None
            await self._engine.dispose()
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
        await asyncio.shield(self._opening)

    async def _open(self) -> None:
        async with asyncio.timeout(OPEN_DEADLINE):
            if self._serves:
                await asyncio.to_thread(self.place.prepare)
            elif not await asyncio.to_thread(self.place.exists):
                raise StoreError(f"there is no {self.place.name}: the service creates it when it starts")
            self._identity = await asyncio.to_thread(self.place.identity)
            revision = await self._revision()
            if revision != REVISION:
                await self._migrate(revision)
        log.debug("The store is open: %s", self.place.name)

    async def _was_replaced(self) -> bool:
        return await asyncio.to_thread(self.place.identity) != self._identity

    async def _revision(self) -> str | None:
        async with self._engine.connect() as connection:
            await connection.execution_options(begin="BEGIN")
            if not await connection.run_sync(lambda known: inspect(known).has_table("alembic_version")):
                return None
            revision: str | None = await connection.scalar(text("SELECT version_num FROM alembic_version"))
            return revision

    async def _migrate(self, revision: str | None) -> None:
        if not self._serves:
            raise StoreError(f"{self.place.name} is of another version of Callgate than this: start the service first")
        log.info("Migrating the store: %s, from %s to %s", self.place.name, revision or "nothing", REVISION)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        await asyncio.to_thread(migrate.upgrade, self.place)

    # Failure and recovery.

    def _fails(self, failure: str) -> None:
        if self.failure is None and self._serves:
            log.error("The store fails, but calls go on: %s", failure)
        self.failure = failure
        if self._opening is not None and self._opening.done():
            self._opening = None  # open it again next time: the database may have been replaced

    def _works(self) -> None:
        if self.failure is not None:
            log.info("The store works again")
        self.failure = None
