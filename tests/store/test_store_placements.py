"""Placed calls are counted across processes and restarts, and a key is used only once."""

from __future__ import annotations

import asyncio

import pytest
from callgate.config.settings import Config
from callgate.store.placements import Caps, Exhausted, Placement, Placements, RememberedPlacements
from support.stores import store_of

CAPS = Caps(per_minute=3, per_day=5)


@pytest.fixture(params=["sqlite", "postgresql", "memory"])
async def placements(request: pytest.FixtureRequest):
    if request.param == "memory":
        yield RememberedPlacements()
        return
    config: Config = request.getfixturevalue("on_sqlite" if request.param == "sqlite" else "on_postgres")
    async with store_of(config) as store:
        yield store.placements


async def fill(placements: Placements, count: int, caps: Caps = CAPS, name: str = "key") -> None:
    for number in range(count):
        assert await placements.reserve(f"{name}{number}", "", caps) is None


async def test_a_key_that_was_used_gives_what_came_of_it(placements):
    assert await placements.reserve("key", "print", CAPS) is None
    known = await placements.reserve("key", "another", CAPS)
    assert isinstance(known, Placement)
    assert (known.state, known.fingerprint, known.call_sid) == ("asked", "print", None)
    await placements.settle("key", "placed", "CA1")
    known = await placements.reserve("key", "print", CAPS)
    assert isinstance(known, Placement)
    assert (known.state, known.call_sid) == ("placed", "CA1")
    assert (await placements.has("CA1"), await placements.has("CA2")) == (True, False)


async def test_of_many_that_ask_at_once_no_more_get_a_place_than_there_are(placements):
    answers = await asyncio.gather(*(placements.reserve(f"key{number}", "", CAPS) for number in range(20)))
    assert sum(answer is None for answer in answers) == 3
    assert all(answer.per == "minute" for answer in answers if isinstance(answer, Exhausted))


async def test_of_many_with_one_key_one_gets_a_place(placements):
    answers = await asyncio.gather(*(placements.reserve("key", "", CAPS) for _ in range(20)))
    assert sum(answer is None for answer in answers) == 1


async def test_a_refused_call_counts_for_the_minute_alone_and_its_key_may_be_used_again(placements):
    await fill(placements, 2, Caps(3, 2))
    assert isinstance(await placements.reserve("more", "", Caps(3, 2)), Exhausted)
    await placements.settle("key0", "refused")
    assert await placements.reserve("key0", "", Caps(3, 2)) is None
    await placements.settle("key0", "refused")
    refused = await placements.reserve("more", "", Caps(2, 5))
    assert isinstance(refused, Exhausted)
    assert refused.per == "minute"
    assert 1 <= refused.retry_after <= 60


async def test_the_count_of_the_day_survives_a_restart_and_holds_for_every_process(config):
    wide = Caps(per_minute=100, per_day=4)
    async with store_of(config, "one") as store:
        await fill(store.placements, 2, wide)
        async with store_of(config, "two") as other:
            await fill(other.placements, 2, wide, "other")
            assert isinstance(await store.placements.reserve("more", "", wide), Exhausted)
    async with store_of(config, "one") as store:
        refused = await store.placements.reserve("more", "", wide)
        assert isinstance(refused, Exhausted)
        assert (refused.per, refused.retry_after > 3600) == ("day", True)
