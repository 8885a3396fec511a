"""Migrations from every earlier revision to the newest, with the data kept."""

from __future__ import annotations

import asyncio
import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config as AlembicConfig
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from callgate.errors import StoreError
from callgate.store import Archive, migrate
from callgate.store.schema import REVISION, metadata
from callgate.store.sqlite_or_postgres import place_of
from sqlalchemy import text
from support.stores import START, TIMEOUT, flushed, record, store_of, turn, until


def revisions() -> list[str]:
    config = AlembicConfig()
    config.set_main_option("script_location", str(migrate.MIGRATIONS))
    scripts = list(ScriptDirectory.from_config(config).walk_revisions())
    return [script.revision for script in reversed(scripts)]


REVISIONS = revisions()

# One call as written at the first revision. A later revision that changes `calls` adds to it.
OLD_CALL = (
    "INSERT INTO calls (call_sid, account_sid, direction, from_number, to_number, started_at, process, resumes)"
    " VALUES ('CA-old', 'AC1', 'inbound', '', '', '2126-11-23 10:00:00.123456', 'gone/0', 0)"
)


def test_the_newest_migration_is_the_one_that_the_schema_names():
    assert REVISIONS[-1] == REVISION


async def prepared(config, revision):
    place = place_of(config)
    place.prepare()
    await asyncio.to_thread(migrate.upgrade, place, revision)
    return place


async def execute(place, statement):
    engine = place.engine(TIMEOUT)
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_store_of_an_earlier_revision_is_brought_up_to_date_with_its_calls(config, revision):
    await execute(await prepared(config, revision), OLD_CALL)
    async with store_of(config) as store:
        store.journal.call_started(record())
        store.journal.turn("CA-old", turn(0, "goes on"))
        await flushed(store)
        found = await store.call("CA-old")
        assert [call.call_sid for call in await store.abandoned()] == ["CA-old"]
    assert found.call.started_at == START
    assert found.turns == (turn(0, "goes on"),)


async def test_migrations_that_begin_at_once_are_run_by_one_and_the_others_find_all_done(config):
    place = place_of(config)
    place.prepare()
    at_once = threading.Barrier(4)

    def start():
        at_once.wait(TIMEOUT)
        migrate.upgrade(place)

    await asyncio.gather(*(asyncio.to_thread(start) for _ in range(4)))
    async with store_of(config) as store:
        assert await store.calls() == []


async def test_the_migrations_make_the_tables_that_the_statements_are_for(config):
    engine = (await prepared(config, "head")).engine(TIMEOUT)

    def differences(connection):
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_a_store_of_a_newer_callgate_is_left_alone_and_the_service_says_so(config):
    await execute(await prepared(config, "head"), "UPDATE alembic_version SET version_num = '9999'")
    async with store_of(config) as store:
        store.journal.call_started(record())

        async def failure():
            return store.journal.failure

        assert "was written by a newer Callgate" in await until(failure)
    async with Archive.of(config) as archive:
        with pytest.raises(StoreError, match="of another version of Callgate"):
            await archive.calls()


async def test_people_who_look_change_nothing_of_an_older_store(config):
    place = await prepared(config, REVISIONS[0])
    async with Archive.of(config) as archive:
        with pytest.raises(StoreError, match="start the service first"):
            await archive.calls()
    engine = place.engine(TIMEOUT)
    async with asyncio.timeout(TIMEOUT), engine.connect() as connection:
        assert await connection.scalar(text("SELECT version_num FROM alembic_version")) == REVISIONS[0]
    await engine.dispose()
