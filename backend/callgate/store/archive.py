"""Reads and deletes the stored calls, for `callgate calls`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import TracebackType
from typing import Final, Self

from callgate.config.settings import Config
from callgate.core.units import SECONDS
from callgate.errors import StoreError

from . import queries
from .database import Database, T, Work
from .records import CallRecord, StoredCall
from .sqlite_or_postgres import place_of

READ_DEADLINE: Final = 10 * SECONDS
DELETE_DEADLINE: Final = 20 * SECONDS

OFF: Final = "STORE is off: nothing is kept of calls"


class Archive:
    """The calls in a database. ``database``: None if the store is off. Every method raises `StoreError`."""

    def __init__(self, database: Database | None) -> None:
        self._database = database

    @classmethod
    def of(cls, config: Config) -> Archive:
        """Return the archive of a service with these settings. The database is neither created nor migrated."""
        return Archive(Database(place_of(config), serves=False) if config.store else None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._database is not None:
            await self._database.close()

    async def calls(self, limit: int = 50, since: datetime | None = None) -> list[CallRecord]:
        """Return the latest calls, newest first; ``since``: only those that started then or later."""
        return await self._read(lambda connection: queries.read_calls(connection, limit, since))

    async def call(self, call_sid: str) -> StoredCall | None:
        """Return a call with its turns and messages; None if there is no such call."""
        return await self._read(lambda connection: queries.read_transcript(connection, call_sid))

    async def messages_left(self, call_sids: Sequence[str]) -> dict[str, int]:
        """Return how many messages were left in each of these calls; calls with none are omitted."""
        return await self._read(lambda connection: queries.count_messages(connection, call_sids))

    async def delete(self, call_sid: str) -> int | None:
        """Delete a call and all that was said in it, for good. Return how many turns it had; None if there is no such
        call."""
        database = self._opened()
        turns = await database.write(lambda connection: queries.delete_call(connection, call_sid), DELETE_DEADLINE)
        await database.forget_deleted(DELETE_DEADLINE)
        return turns

    async def _read(self, work: Work[T], deadline: float = READ_DEADLINE) -> T:
        return await self._opened().read(work, deadline)

    def _opened(self) -> Database:
        if self._database is None:
            raise StoreError(OFF)
        return self._database
