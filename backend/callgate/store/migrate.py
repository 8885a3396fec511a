"""Migrates a database to the newest revision, under a lock that lets only one process do so."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from callgate.core.units import SECONDS
from callgate.errors import StoreError

from .sqlite_or_postgres import Place

DEADLINE: Final = 30 * SECONDS  # for the lock and all migrations

MIGRATIONS: Final = Path(__file__).parent / "migrations"


def upgrade(place: Place, revision: str = "head") -> None:
    """Run the missing migrations in one transaction. Blocks, so it needs its own thread.

    A second process waits, and finds nothing left to do. Raises `StoreError`, and what the database raises.
    """
    asyncio.run(_upgrade(place, revision))


async def _upgrade(place: Place, revision: str) -> None:
    engine = place.engine(DEADLINE)
    try:
        async with asyncio.timeout(DEADLINE):
            async with engine.connect() as connection:
                await place.lock_for_migration(connection)
                await connection.run_sync(_run_alembic, revision)
                await connection.commit()
    finally:
        await engine.dispose()


def _run_alembic(connection: Connection, revision: str) -> None:
    # Imported here because it is slow, and there is hardly ever anything to migrate.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    try:
        command.upgrade(config, revision)
    except CommandError as exc:
        raise StoreError(f"it was written by a newer Callgate ({exc}): run that one, or use another database") from exc
