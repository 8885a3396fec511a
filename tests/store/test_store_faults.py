"""A store that is slow, full, damaged or gone: calls go on, writes that can wait do, and losses are counted."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import sys
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Iterator
from pathlib import Path

import pytest
from callgate.config.settings import Config
from callgate.errors import StoreError
from callgate.store import Archive, JournalLimits
from support.disks import fill, small_disk
from support.stores import TIMEOUT, at, database_of, flushed, record, store_of, turn, until


async def failing(store, said=""):
    """Wait until the journal can't write and its reason contains ``said``, and return the reason."""

    async def failure():
        found = store.journal.failure
        return found if found and said in found else None

    return await until(failure)


# PostgreSQL.


async def test_a_server_that_is_killed_and_comes_back_gets_what_was_said_meanwhile(on_postgres, server, log):
    async with store_of(on_postgres) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "before"))
        await flushed(store)
        server.kill()
        store.journal.turn("CA1", turn(1, "while it was gone"))
        store.journal.call_ended("CA1", at(2), "goodbye", "done")
        await failing(store, "can't be reached")  # after "closed in the midst", perhaps
        assert store.journal.waiting == 2
        with pytest.raises(StoreError, match="can't be reached"):
            await store.calls()
        server.start()
        await flushed(store)
        assert (store.journal.lost, store.journal.failure) == (0, None)
        found = await store.memory("CA1")
    assert [turn.text for turn in found.turns] == ["before", "while it was gone"]
    assert found.call.outcome == "goodbye"
    assert log.getvalue().count("The store fails") == 1
    assert "The store works again" in log.getvalue()


async def test_a_server_that_was_started_anew_while_nobody_asked_answers_at_once(on_postgres, server):
    async with store_of(on_postgres, beat=600) as store:
        store.journal.call_started(record())
        await flushed(store)
        assert await store.calls()
        server.stop()
        server.start()
        assert await store.memory("CA1")
        assert await store.claim("CA1", store.process)


async def test_what_finds_no_room_while_the_server_is_gone_is_lost_the_oldest_words_first_and_counted(
    on_postgres, server, log
):
    limits = JournalLimits(entries=4, pause=0.001, first_retry=0.01, last_retry=0.05)
    async with store_of(on_postgres, limits=limits) as store:
        server.stop()
        store.journal.call_started(record())
        for number in range(10):
            store.journal.turn("CA1", turn(number, f"{number}"))
        store.journal.call_ended("CA1", at(10), "goodbye", "done")
        assert (store.journal.waiting, store.journal.lost) == (4, 8)
        assert "8 are lost" in await failing(store)
        server.start()
        await flushed(store)
        assert store.journal.failure is None
        found = await store.call("CA1")
    assert [turn.text for turn in found.turns] == ["8", "9"]
    assert found.call.outcome == "goodbye"
    assert "8 entries of calls are lost" in log.getvalue()


async def test_a_server_that_hangs_keeps_nobody_waiting_longer_than_the_deadline(on_postgres, server):
    async with store_of(on_postgres, read_deadline=0.1, write_deadline=0.1, flush_deadline=0.1, beat=0.05) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "before"))
        await flushed(store)
        with server.frozen():
            store.journal.turn("CA1", turn(1, "meanwhile"))
            with pytest.raises(StoreError, match="does not answer in time"):
                await store.memory("CA1")
            with pytest.raises(StoreError, match="does not answer in time"):
                await store.claim("CA1", store.process)
            assert not await store.journal.flush(0.05)
            await failing(store, "does not answer in time")
        await flushed(store)
    async with Archive.of(on_postgres) as archive:  # which is more patient
        assert [turn.text for turn in (await archive.call("CA1")).turns] == ["before", "meanwhile"]


async def test_a_service_ends_although_the_server_hangs_and_says_what_is_not_kept(on_postgres, server, log):
    times = {"write_deadline": 0.1, "close_deadline": 0.1}
    with contextlib.ExitStack() as frozen:
        async with store_of(on_postgres, **times) as store:
            store.journal.call_started(record())
            await flushed(store)
            frozen.enter_context(server.frozen())
            store.journal.turn("CA1", turn(1, "too late"))
    assert "1 entries of calls are lost at the end" in log.getvalue()


async def test_memory_of_a_call_that_began_while_the_server_was_gone_is_what_waits(on_postgres, server):
    async with store_of(on_postgres) as store:
        server.stop()
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "as I was saying"))
        found = await store.memory("CA1")
        assert found.call == record(process=store.process)
        assert found.turns == (turn(0, "as I was saying"),)
        with pytest.raises(StoreError):
            await store.memory("CA2")
        server.start()
        await flushed(store)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("password", "lets nobody in with this user and password"),
        ("database", "there is no such database"),
        ("socket", "can't be reached"),
        ("setting", "sslmode"),
        ("rights", "make it the database's owner"),
        ("read-only", "must name the primary server"),
    ],
)
async def test_what_is_wrong_with_a_server_is_said_in_one_line_without_the_password(server, tmp_path, fault, said):
    url = server.new_database()
    name = url.split("/")[-1].partition("?")[0]
    match fault:
        case "password":
            url = server.url(name, "wrong secret")
        case "database":
            url = server.url("no_such_database")
        case "socket":
            url = "postgresql://callgate:wrong%20secret@/calls?host=/nowhere"
        case "setting":
            url += "&sslmode=wrong"
        case "rights":
            server.sql("DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 'guest secret'")
            url = url.replace("://callgate:", "://guest:").replace(url.split(":")[2].split("@")[0], "guest%20secret")
        case "read-only":
            server.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    async with store_of(Config(data_dir=tmp_path, database_url=url)) as store:
        store.journal.call_started(record())
        failure = await failing(store)
    assert said in failure
    assert "\n" not in failure
    assert "secret" not in failure


# A SQLite file.


async def test_a_damaged_file_keeps_nobody_from_calling_and_a_new_one_takes_its_place(on_sqlite, log):
    path = on_sqlite.data_dir / "calls.sqlite3"
    path.parent.mkdir()
    path.write_bytes(b"not a database at all" * 1000)
    async with store_of(on_sqlite) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "kept in the end"))
        failure = await failing(store)
        assert "is damaged" in failure
        assert "move it" in failure
        path.rename(path.with_suffix(".damaged"))
        await flushed(store)
        assert len((await store.call("CA1")).turns) == 1
    assert log.getvalue().count("The store fails") == 1


async def test_a_file_whose_pages_are_damaged_is_said_to_be_that(on_sqlite):
    path = on_sqlite.data_dir / "calls.sqlite3"
    async with store_of(on_sqlite) as store:
        store.journal.call_started(record())
        await flushed(store)
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xaa" * (size - 4096))
    async with store_of(on_sqlite) as store:
        store.journal.call_started(record("CA2"))
        assert "is damaged" in await failing(store)


@pytest.mark.parametrize("how", ["deleted", "replaced by an older copy"])
async def test_a_file_that_is_replaced_under_a_running_service_is_written_to_under_its_name(on_sqlite, log, how):
    """Otherwise everything would be written to a file that has no name any more."""
    path = on_sqlite.data_dir / "calls.sqlite3"
    async with store_of(on_sqlite) as store:
        store.journal.call_started(record("CA1"))
        await flushed(store)
        with contextlib.closing(sqlite3.connect(path)) as source:
            source.execute("VACUUM INTO ?", (str(path.with_name("copy")),))
        store.journal.call_started(record("CA2"))
        await flushed(store)
        path.unlink()
        if how != "deleted":
            path.with_name("copy").rename(path)
        store.journal.call_started(record("CA3"))
        await flushed(store)
    async with Archive.of(on_sqlite) as archive:
        kept = {call.call_sid for call in await archive.calls()}
    assert kept == ({"CA3"} if how == "deleted" else {"CA1", "CA3"})
    assert "replaced or deleted" in log.getvalue()


async def test_a_file_that_is_replaced_by_one_that_can_not_be_used_is_said(on_sqlite):
    path = on_sqlite.data_dir / "calls.sqlite3"
    async with store_of(on_sqlite) as store:
        store.journal.call_started(record("CA1"))
        await flushed(store)
        path.rename(path.with_suffix(".before"))
        path.mkdir()
        store.journal.call_started(record("CA2"))
        assert "can't be written" in await failing(store)
        path.rmdir()
        path.with_suffix(".before").rename(path)
        await flushed(store)
        assert len(await store.calls()) == 2


@pytest.mark.parametrize("what", ["a file", "not ours"])
async def test_a_data_directory_that_cannot_be_used_is_named(tmp_path, what):
    (tmp_path / "a file").touch()
    folder = tmp_path / "a file" / "data" if what == "a file" else Path("/proc/callgate")
    async with store_of(Config(data_dir=folder)) as store:
        store.journal.call_started(record())
        failure = await failing(store)
    assert str(folder) in failure


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a folder on a small file system."""
    with small_disk(tmp_path / "small", "1m") as folder:
        yield folder


async def test_a_disk_that_fills_up_in_the_midst_of_a_call_loses_nothing_once_there_is_room(disk):
    async with store_of(Config(data_dir=disk)) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "before"))
        await flushed(store)
        fill(disk / "ballast")
        for number in range(1, 200):
            store.journal.turn("CA1", turn(number, f"{number}" * 50))
        failure = await failing(store)
        assert "make room on its disk" in failure
        assert len((await store.memory("CA1")).turns) == 200
        (disk / "ballast").unlink()
        await flushed(store)
        assert store.journal.lost == 0
        assert len((await store.call("CA1")).turns) == 200


async def test_a_disk_that_is_full_at_the_start_keeps_nobody_from_calling(disk):
    fill(disk / "ballast")
    async with store_of(Config(data_dir=disk / "data")) as store:
        store.journal.call_started(record())
        assert "make room on its disk" in await failing(store)
        (disk / "ballast").unlink()
        await flushed(store)
        assert await store.call("CA1")


async def test_a_file_that_another_program_holds_never_holds_up_the_event_loop(on_sqlite, caplog):
    async with store_of(on_sqlite, write_deadline=0.1) as store:
        store.journal.call_started(record())
        await flushed(store)
        loop = asyncio.get_running_loop()
        with contextlib.closing(sqlite3.connect(on_sqlite.data_dir / "calls.sqlite3", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            loop.set_debug(True)
            loop.slow_callback_duration = 1.0  # half of the time that a write waits for the other program
            store.journal.turn("CA1", turn(0, "meanwhile"))
            with pytest.raises(StoreError, match="does not answer in time"):
                await store.claim("CA1", store.process)
            assert (await store.memory("CA1")).turns == (turn(0, "meanwhile"),)
            async with database_of(on_sqlite) as database:
                assert "is locked" in await until(lambda: locked(database))
            loop.set_debug(False)
            other.execute("ROLLBACK")
        await flushed(store)
        assert len((await store.call("CA1")).turns) == 1
    assert not [entry for entry in caplog.records if entry.name == "asyncio" and entry.levelno >= logging.WARNING]


async def locked(database):
    try:
        await database.write(lambda connection: asyncio.sleep(0), TIMEOUT)
    except StoreError as exc:
        return str(exc)


# Several processes.


async def test_processes_that_start_at_once_on_an_empty_database_all_find_it_ready(config, environ):
    script = (
        "import asyncio, sys; sys.path.insert(0, 'tests')\n"
        "from callgate.config.settings import Config\n"
        "from support.stores import flushed, record, store_of, turn\n"
        "async def main(name):\n"
        "    async with store_of(Config.load(env_file=None), name) as store:\n"
        "        store.journal.call_started(record(name))\n"
        "        store.journal.turn(name, turn(0, 'hello'))\n"
        "        await flushed(store)\n"
        "        assert store.journal.lost == 0\n"
        "input()\n"
        "asyncio.run(main(sys.argv[1]))\n"
    )
    names = ["CA0", "CA1", "CA2"]
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", script, name, env=environ, stdin=PIPE, stdout=PIPE, stderr=STDOUT
        )
        for name in names
    ]
    try:
        async with asyncio.timeout(60):
            said = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    assert [(process.returncode, out) for process, (out, _) in zip(processes, said, strict=True)] == [(0, b"")] * 3
    async with Archive.of(config) as archive:
        assert sorted([call.call_sid for call in await archive.calls()]) == names
