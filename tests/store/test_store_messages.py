"""What callers leave for the owner, and what follows a stream that the agent has left, on both databases alike."""

from __future__ import annotations

import pytest
from callgate.config.settings import Config
from callgate.errors import StoreError
from callgate.store import Store
from support.stores import at, flushed, message, record, store_of, turn

RECEIPT = {"duration_s": 1.0}
TRANSFER = {"transfer": "Front desk", "number": "+15551230009", "ring_for": 20.0, "announced": True}


async def test_a_message_is_kept_with_its_call_also_where_that_was_not_written_yet(config):
    async with store_of(config) as store:
        store.journal.call_started(record())
        await store.keep_message("CA1", message("call_1", text="Grüße \0 from me"))
        found = await store.call("CA1")
        assert found.messages == (message("call_1", text="Grüße  from me"),)
        assert await store.messages_left(["CA1", "CA2"]) == {"CA1": 1}


async def test_one_that_is_kept_twice_is_one(config):
    async with store_of(config) as store:
        store.journal.call_started(record())
        await store.keep_message("CA1", message("call_1"))
        await store.keep_message("CA1", message("call_1"))
        await store.keep_message("CA1", message("call_2"))
        assert len((await store.call("CA1")).messages) == 2


async def test_messages_go_with_their_call(config):
    async with store_of(config) as store:
        store.journal.call_started(record())
        await store.keep_message("CA1", message("call_1"))
        await store.delete("CA1")
        assert await store.messages_left(["CA1"]) == {}


async def test_one_of_a_call_that_is_not_kept_is_refused(config):
    async with store_of(config) as store:
        with pytest.raises(StoreError):
            await store.keep_message("CA9", message("call_1"))


async def test_where_nothing_is_kept_no_message_is_said_to_be():
    async with Store(Config(store=False)) as store:
        with pytest.raises(StoreError, match="STORE is off"):
            await store.keep_message("CA1", message("call_1"))


async def test_what_comes_next_is_known_until_the_agent_is_back_which_is_no_interruption(config):
    async with store_of(config) as one, store_of(config, "two") as two:
        one.journal.call_started(record())
        one.journal.turn("CA1", turn(1, "Hello."))
        one.journal.call_ended("CA1", at(5), "transferred", "put through", RECEIPT, TRANSFER)
        assert (await one.memory("CA1")).call.next_step == TRANSFER  # it may not have been written yet
        await flushed(one)
        assert (await two.memory("CA1")).call.next_step == TRANSFER
        two.journal.call_resumed("CA1", at(6), interrupted=False)
        for found in (await two.memory("CA1"), await two.memory("CA1") if await two.journal.flush(10) else None):
            assert (found.call.next_step, found.call.outcome, found.call.resumes) == (None, None, 0)
            assert found.call.process == two.process
