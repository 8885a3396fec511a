"""What is stored of a call, on both databases alike."""

from __future__ import annotations

import asyncio
import signal
import sys
from datetime import UTC, datetime, timedelta

import pytest
from callgate.config.settings import Config
from callgate.errors import StoreError
from callgate.store import Archive, JournalLimits
from callgate.store.queries import write_batch
from callgate.store.waiting import Batch, CallEnded, CallResumed, CallStarted
from sqlalchemy import text
from support.stores import CALLED, CALLER, START, TIMEOUT, at, database_of, flushed, record, store_of, turn, until

RECEIPT = {"seconds": 12.5, "tokens": {"audio_in": 3, "cached": 1}, "cost_usd": 0.0123, "model": "gpt-realtime-2.1"}


async def test_a_call_is_kept_with_all_that_was_said_and_how_it_ended(config):
    async with store_of(config) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "Grüß Gott, 你好 👋"))
        store.journal.turn("CA1", turn(1, "Hello! How can I", heard_ms=2200, cut=True))
        store.journal.turn("CA1", turn(2, "reconnected", role="note", item_id=None))
        store.journal.call_ended("CA1", at(12.5), "goodbye", "the agent said goodbye", RECEIPT)
        await flushed(store)
        process = store.process
    async with Archive.of(config) as archive:
        found = await archive.call("CA1")
    assert found.call == record(
        process=process, ended_at=at(12.5), outcome="goodbye", reason="the agent said goodbye", receipt=RECEIPT
    )
    assert found.turns == (
        turn(0, "Grüß Gott, 你好 👋"),
        turn(1, "Hello! How can I", heard_ms=2200, cut=True),
        turn(2, "reconnected", role="note", item_id=None),
    )


async def test_a_turn_that_is_known_better_takes_the_place_of_what_it_was_and_keeps_its_own(config):
    async with store_of(config) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(1, "Hello! How"))
        store.journal.turn("CA1", turn(2, "Wait"))
        await flushed(store)
        store.journal.turn("CA1", turn(7, "Hello! How can I", item_id="item_1"))
        store.journal.turn("CA1", turn(9, "Hello!", item_id="item_1", heard_ms=400, cut=True))
        store.journal.turn("CA1", turn(2, "Wait a minute"))
        await flushed(store)
        found = await store.call("CA1")
    assert found.turns == (turn(1, "Hello!", heard_ms=400, cut=True), turn(2, "Wait a minute"))


async def test_text_that_no_database_can_hold_is_kept_without_what_it_cannot(config):
    async with store_of(config) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "a\0b\ud83dc"))
        store.journal.turn("CA1", turn(1, "whole"))
        await flushed(store)
        found = await store.call("CA1")
        assert store.journal.lost == 0
    assert [turn.text for turn in found.turns] == ["ab?c", "whole"]


async def test_a_receipt_that_is_no_json_does_not_cost_the_call_its_end(config):
    async with store_of(config) as store:
        store.journal.call_started(record())
        store.journal.call_ended("CA1", at(1), "goodbye", "done", {"cost": object()})
        store.journal.turn("CA1", turn(0, "whole"))
        await flushed(store)
        found = await store.call("CA1")
        assert (store.journal.lost, store.journal.failure) == (0, None)
    assert (found.call.outcome, found.call.receipt, len(found.turns)) == ("goodbye", None, 1)


async def test_an_entry_that_the_database_refuses_is_lost_alone(config):
    async with store_of(config) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "before"))
        store.journal.turn("CA1", turn(1, "refused", role=None))
        store.journal.turn("CA1", turn(2, "after"))
        await flushed(store)
        found = await store.call("CA1")
        assert (store.journal.lost, store.journal.failure) == (1, None)
    assert [turn.text for turn in found.turns] == ["before", "after"]


async def test_calls_are_listed_newest_first_and_since_a_time(config):
    async with store_of(config) as store:
        for number in range(5):
            store.journal.call_started(record(f"CA{number}", started_at=at(number)))
        await flushed(store)
        assert [call.call_sid for call in await store.calls(limit=2)] == ["CA4", "CA3"]
        assert [call.call_sid for call in await store.calls(since=at(3))] == ["CA4", "CA3"]
        assert await store.call("CA9") is None


async def test_memory_of_a_call_has_what_is_not_written_yet(config):
    async with store_of(config, limits=JournalLimits(batch=1)) as store:
        store.journal.call_started(record())
        for number in range(40):
            store.journal.turn("CA1", turn(number, f"{number}"))
        store.journal.turn("CA1", turn(0, "better known"))
        found = await store.memory("CA1")
        assert await store.memory("CA9") is None
    assert [turn.text for turn in found.turns] == ["better known", *map(str, range(1, 40))]


async def test_a_backlog_is_written_without_a_pause_however_long_the_pause_is_else(config):
    async with store_of(config, limits=JournalLimits(batch=10, pause=3600)) as store:
        store.journal.call_started(record())
        for number in range(34):
            store.journal.turn("CA1", turn(number, f"{number}"))

        async def is_written():
            return not store.journal.waiting

        await until(is_written)


async def test_a_call_that_is_taken_up_again_has_not_ended_and_counts_how_often(config):
    async with store_of(config, "one") as first:
        first.journal.call_started(record())
        first.journal.call_ended("CA1", at(5), "failed", "the stream was lost")
        await flushed(first)
        async with store_of(config, "two") as second:
            second.journal.call_resumed("CA1", at(6))
            second.journal.turn("CA1", turn(3, "as I was saying"))
            await flushed(second)
            found = await first.memory("CA1")
            assert found.call == record(process=second.process, resumes=1, resumed_at=at(6))
            second.journal.call_resumed("CA1", at(9))
            assert (await second.memory("CA1")).call.resumes == 2


async def test_the_receipts_of_a_calls_streams_are_added_up_whoever_held_it(config):
    def receipt(model, seconds, cost):
        usage = {"audio_in": 3, "text_out": 1}
        return {"duration_s": seconds, "first_audio_ms": 700, "resumes": 0, "usage": usage, "model": model,
                "cost_usd": cost, "ended": "sending_digits"}  # fmt: skip

    async with store_of(config, "one") as one, store_of(config, "two") as two:
        one.journal.call_started(record())
        one.journal.call_ended("CA1", at(5), "sending_digits", "left", receipt("a", 5.25, "0.0100"))
        await flushed(one)
        two.journal.call_resumed("CA1", at(6), interrupted=False)
        two.journal.call_ended("CA1", at(9), "failed", "lost", receipt("b", 3.5, "0.0021"))
        waiting = (await two.memory("CA1")).call.receipt
        await flushed(two)
        one.journal.call_resumed("CA1", at(10))
        await flushed(one)
        two.journal.call_ended("CA1", at(11), "completed", "as Twilio says")  # the process that had the call is gone
        await flushed(two)
        found = (await one.call("CA1")).call
    assert found.receipt == waiting
    assert found.receipt == receipt("a, b", 8.75, "0.0121") | {"usage": {"audio_in": 6, "text_out": 2}}
    assert found.outcome == "completed"


async def test_a_batch_that_is_written_twice_adds_no_receipt_twice(config):
    receipt = {"duration_s": 5.0, "usage": {"audio_in": 3}}
    ended = [CallEnded("CA1", at(second), "failed", "lost", receipt) for second in (5, 8)]
    events = (CallStarted(record(process="one/1")), ended[0], CallResumed("CA1", at(6), "one/1"), ended[1])
    async with store_of(config) as store, database_of(config) as database:
        await store.call("CA1")  # which creates the store
        for batch in (Batch(events[:2], ()), Batch(events[:2], ()), Batch(events, ()), Batch(events, ())):
            await database.write(lambda connection, batch=batch: write_batch(connection, batch), TIMEOUT)
        found = (await store.call("CA1")).call
    assert found.receipt == {"duration_s": 10.0, "usage": {"audio_in": 6}}


async def test_the_end_of_a_stream_that_is_written_after_the_call_went_on_elsewhere_does_not_end_it(config):
    async with store_of(config, "one") as one, store_of(config, "two") as two:
        one.journal.call_started(record())
        await flushed(one)
        two.journal.call_resumed("CA1", at(6))
        await flushed(two)
        one.journal.call_ended("CA1", at(5), "stream_lost", "the stream was lost", RECEIPT)
        assert (await one.memory("CA1")).call.outcome is None
        await flushed(one)
        found = (await two.call("CA1")).call
        two.journal.call_ended("CA1", at(9), "goodbye", "the agent said goodbye", RECEIPT)
        await flushed(two)
        ended = (await two.call("CA1")).call
    assert (found.ended_at, found.outcome, found.process) == (None, None, two.process)
    assert (ended.ended_at, ended.outcome) == (at(9), "goodbye")


async def test_word_of_an_end_from_who_did_not_hold_the_call_is_taken_only_where_no_other_is_known(config):
    async with store_of(config, "one") as one, store_of(config, "two") as two:
        one.journal.call_started(record())
        await flushed(one)
        two.journal.call_ended("CA1", at(5), "completed", "as Twilio says")
        await flushed(two)
        assert (await two.call("CA1")).call.outcome == "completed"
        one.journal.call_ended("CA1", at(4), "goodbye", "the agent said goodbye", RECEIPT)
        await flushed(one)
        two.journal.call_ended("CA1", at(6), "completed", "as Twilio says")
        await flushed(two)
        found = (await two.call("CA1")).call
    assert (found.ended_at, found.outcome, found.receipt) == (at(4), "goodbye", RECEIPT)


async def test_what_was_written_outlives_a_process_that_is_killed_and_its_calls_are_found_at_once(config, environ):
    script = (
        "import asyncio, sys; sys.path.insert(0, 'tests')\n"
        "from callgate.config.settings import Config\n"
        "from support.stores import flushed, record, store_of, turn\n"
        "async def main():\n"
        "    async with store_of(Config.load(env_file=None), 'same') as store:\n"
        "        store.journal.call_started(record())\n"
        "        store.journal.turn('CA1', turn(0, 'as I was'))\n"
        "        await flushed(store)\n"
        "        print('written', flush=True)\n"
        "        await asyncio.sleep(600)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, env=environ, stdout=asyncio.subprocess.PIPE
    )
    try:
        async with asyncio.timeout(TIMEOUT):
            assert await process.stdout.readline() == b"written\n"
    finally:
        process.send_signal(signal.SIGKILL)
        await process.communicate()
    async with store_of(config, "same") as store:
        (call,) = await store.abandoned()
        assert call.call_sid == "CA1"
        assert await store.claim("CA1", call.process)
        assert (await store.memory("CA1")).turns == (turn(0, "as I was"),)
        assert await store.abandoned() == []


async def test_a_call_of_a_process_that_lives_is_not_abandoned_nor_one_that_has_ended(config):
    async with store_of(config, "one") as one, store_of(config, "two") as two:
        one.journal.call_started(record("CA1"))
        one.journal.call_started(record("CA2"))
        one.journal.call_ended("CA2", at(1), "goodbye", "done")
        await flushed(one)
        assert await two.abandoned() == []
        assert await one.abandoned() == []
    async with store_of(config, "three") as three:
        assert [call.call_sid for call in await three.abandoned()] == ["CA1"]


async def test_a_process_that_is_silent_keeps_its_calls_until_no_call_can_be_left(config):
    async with store_of(config, "one", beat=600) as one, store_of(config, "two") as two:
        one.journal.call_started(record())
        await flushed(one)

        async def left_by_one_that_is_silent_for(hours):
            await silence(config, one.process, hours)
            return await two.abandoned()

        assert await left_by_one_that_is_silent_for(23) == []
        (call,) = await until(lambda: left_by_one_that_is_silent_for(25))  # its first beat may come in between
        assert call.call_sid == "CA1"


async def silence(config, process, hours):
    """Make it look as if the process had been silent for this many hours."""
    then = f"now() - interval '{hours} hours'" if config.database_url else f"datetime('now', '-{hours} hours')"
    statement = text(f"UPDATE processes SET seen_at = {then} WHERE process = :process")
    async with database_of(config) as database:
        await database.write(lambda connection: connection.execute(statement, {"process": process}), TIMEOUT)


async def test_a_process_learns_that_a_call_it_claimed_is_held_by_another_or_has_ended(config):
    async with store_of(config, "dead") as dead:
        for call_sid in ("CA1", "CA2", "CA3"):
            dead.journal.call_started(record(call_sid))
        await flushed(dead)
    async with store_of(config, "one") as one, store_of(config, "two") as two:
        for call_sid in ("CA1", "CA2", "CA3"):
            assert await one.claim(call_sid, dead.process)
        two.journal.call_resumed("CA2", at(1))
        await flushed(two)
        one.journal.call_ended("CA3", at(1), "goodbye", "done")
        assert [await one.claim(call_sid, one.process) for call_sid in ("CA1", "CA2", "CA3")] == [True, False, False]


async def test_of_several_that_claim_a_call_one_gets_it(config):
    async with store_of(config, "dead") as dead:
        dead.journal.call_started(record())
        await flushed(dead)
    async with (
        store_of(config, "a") as a,
        store_of(config, "b") as b,
        store_of(config, "c") as c,
        store_of(config, "d") as d,
    ):
        stores = (a, b, c, d)
        for store in stores:
            assert [call.process for call in await store.abandoned()] == [dead.process]
        got = await asyncio.gather(*(store.claim("CA1", dead.process) for store in stores))
        assert sorted(got) == [False, False, False, True]
        assert (await a.call("CA1")).call.process == stores[got.index(True)].process


async def test_deleting_a_call_removes_everything(config):
    async with store_of(config) as store:
        for call_sid in ("CA1", "CA2"):
            store.journal.call_started(record(call_sid))
            store.journal.turn(call_sid, turn(0, f"the secret of {call_sid}"))
        await flushed(store)
        async with Archive.of(config) as archive:
            assert await archive.delete("CA1") == 1
            assert await archive.delete("CA1") is None
        if config.database_url is None:
            left = b"".join(path.read_bytes() for path in config.data_dir.iterdir())
            assert b"the secret of CA2" in left
            assert b"the secret of CA1" not in left
        store.journal.turn("CA1", turn(1, "the secret of CA1, late"))
        store.journal.turn("CA2", turn(1, "goes on"))
        await flushed(store)
        assert await store.call("CA1") is None
        assert len((await store.call("CA2")).turns) == 2
        turns = text("SELECT count(*) FROM turns WHERE call_sid = 'CA1'")
        async with database_of(config) as database:
            assert await database.read(lambda connection: connection.scalar(turns), TIMEOUT) == 0
        assert store.journal.lost == 0


@pytest.mark.parametrize(("days", "left"), [(30, ["CA-live", "CA-young"]), (0, None)])
async def test_calls_are_deleted_when_they_are_older_than_the_retention(config, days, left):
    ages = {"CA-young": 29, "CA-old": 31, "CA-older": 400}
    async with store_of(
        Config(data_dir=config.data_dir, database_url=config.database_url, retention_days=days)
    ) as store:
        for call_sid, age in ages.items():
            store.journal.call_started(record(call_sid, started_at=START - timedelta(days=age, hours=1)))
            store.journal.turn(call_sid, turn(0, "words"))
            store.journal.call_ended(call_sid, START - timedelta(days=age), "goodbye", "done")
        store.journal.call_started(record("CA-never-ended", started_at=START - timedelta(days=31)))
        store.journal.call_started(record("CA-live"))
        await flushed(store)
        assert await store.sweep(START) == (3 if left else 0)
        kept = [call.call_sid for call in await store.calls()]
    assert kept == left if left else len(kept) == 5


async def test_calls_that_grew_old_while_nothing_ran_are_deleted_at_the_start(config, log):
    for_ever = Config(data_dir=config.data_dir, database_url=config.database_url, retention_days=0)
    async with store_of(for_ever) as store:
        store.journal.call_started(record(started_at=datetime(2020, 1, 1, tzinfo=UTC)))
        await flushed(store)
    async with store_of(config), Archive.of(config) as archive:

        async def is_told():
            return "1 calls are deleted" in log.getvalue()

        assert await until(is_told)
        assert await archive.calls() == []


async def test_with_the_store_off_nothing_is_kept_and_nothing_complains(tmp_path):
    async with store_of(Config(data_dir=tmp_path / "data", store=False)) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "words"))
        store.journal.call_ended("CA1", at(1), "goodbye", "done")
        assert await store.journal.flush(0)
        assert (store.journal.waiting, store.journal.lost, store.journal.failure) == (0, 0, None)
        with pytest.raises(StoreError, match="STORE is off"):
            await store.memory("CA1")
    assert not (tmp_path / "data").exists()


async def test_the_file_is_for_its_owner_alone(on_sqlite):
    async with store_of(on_sqlite) as store:
        store.journal.call_started(record())
        await flushed(store)
        modes = {path.name: path.stat().st_mode & 0o777 for path in on_sqlite.data_dir.iterdir()}
    assert set(modes.values()) == {0o600}


async def test_neither_words_nor_numbers_are_in_the_repr_of_what_is_kept(config, log):
    async with store_of(config) as store:
        store.journal.call_started(record())
        store.journal.turn("CA1", turn(0, "the secret"))
        await flushed(store)
        shown = repr(await store.memory("CA1"))
    for private in (CALLER, CALLED, "the secret"):
        assert private not in shown + log.getvalue()
