"""A model that lives, but is slow, far away, at a loss for an answer, or otherwise unlike its documentation: the caller
is answered, and nobody talks over them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from callgate.peers.linecheck.realtime.response import Speech
from support.fake_openai import (
    NEVER,
    WHEN_IDLE,
    At,
    Away,
    Connection,
    Habits,
    Hang,
    Probes,
    Script,
    asking,
    empty,
    failed,
    incomplete,
    limited,
    muted,
    say,
    tone,
    tool,
    unspoken,
)
from support.living import (
    ANSWER,
    GREETING,
    LAST,
    PAUSE,
    WORDS,
    answered,
    called,
    hears,
    in_order,
    noise_on,
    responses_begun,
    talk,
)

pytestmark = pytest.mark.whole

TWO_ENDPOINTS = {"OPENAI_MODEL": "m1", "OPENAI_FALLBACK_MODEL": "m2"}


async def is_served(line: Any, place: str) -> None:
    """Be greeted; and answered, unless the test is about the greeting."""
    await (hears(line, GREETING) if place == "greeting" else answered(line))


def of_responses(log: Any) -> list[str]:
    """Return what the operator is told of responses."""
    lines = log.getvalue().splitlines()
    return [line for line in lines if "response" in line and (" INFO - " in line or " WARNING - " in line)]


# A response that is no answer.

NO_ANSWERS = {
    "empty": (empty(),),
    "filtered": (incomplete(),),
    "too long": (incomplete(reason="max_output_tokens"),),
    "in the middle of a call": (incomplete(asking("look_up", number="7"), reason="max_output_tokens"),),
    "cancelled": (unspoken(),),
    "muted": (muted(),),
    "twice": (empty(), incomplete()),
}


@pytest.mark.parametrize("no_answer", NO_ANSWERS)
@pytest.mark.parametrize("place", ["greeting", "answer", "behind a tool"])
async def test_a_response_without_a_word_is_no_answer_and_is_asked_for_again(tmp_path, log, place, no_answer):
    before = {"greeting": (), "answer": (say(GREETING),), "behind a tool": (say(GREETING), tool("look_up"))}[place]
    then = say(GREETING if place == "greeting" else ANSWER)
    async with called(tmp_path, in_order(*before, *NO_ANSWERS[no_answer], then)) as (line, _):
        await is_served(line, place)
    assert len(of_responses(log)) >= len(NO_ANSWERS[no_answer])


async def test_a_response_that_breaks_off_after_some_words_was_an_answer(tmp_path):
    cut = incomplete(Speech(ANSWER, "So"), reason="max_output_tokens")
    async with called(tmp_path, in_order(say(GREETING), cut, say(LAST))) as (line, fake):
        await answered(line)
        await line.say(WORDS + PAUSE)
        await hears(line, LAST)
        assert len(fake.events("response.create")) == 1  # the greeting


# A model that fails for a moment.


@pytest.mark.parametrize("settings", [{}, TWO_ENDPOINTS], ids=["one endpoint", "two endpoints"])
@pytest.mark.parametrize("place", ["greeting", "answer"])
async def test_a_model_that_is_limited_twice_is_asked_again_when_it_says(tmp_path, log, place, settings):
    first = () if place == "greeting" else (say(GREETING),)
    then = say(GREETING if place == "greeting" else ANSWER)
    async with called(tmp_path, in_order(*first, limited(0.1), limited(0.1), then), **settings) as (line, _):
        await is_served(line, place)
    assert len(of_responses(log)) >= 2


@pytest.mark.parametrize("failure", [limited(0.1), failed()], ids=["limited", "failed"])
@pytest.mark.parametrize("place", ["greeting", "answer"])
async def test_a_model_that_goes_on_failing_is_left_for_the_next_one(tmp_path, place, failure):
    first = () if place == "greeting" else (say(GREETING),)
    scripts = {"m1": in_order(*first, failure), "m2": in_order(say(GREETING if place == "greeting" else ANSWER))}

    def script(connection: Connection) -> Script:
        return scripts[connection.model]

    async with called(tmp_path, script, **TWO_ENDPOINTS) as (line, _):
        await is_served(line, place)


async def test_a_failure_and_another_after_the_caller_spoke_into_the_second_try_do_not_end_the_call(tmp_path):
    script = in_order(say(GREETING), failed(), say(LAST), failed(), say(ANSWER))
    habits = Habits(then_thinks=lambda number: 60.0 if number == 2 else 0.0)
    async with called(tmp_path, script, habits) as (line, fake):
        await hears(line, GREETING)
        await line.say(WORDS + PAUSE)
        await fake.until(lambda: responses_begun(fake) == 3)
        await line.say(WORDS + PAUSE)
        await hears(line, ANSWER)
        assert LAST not in line.heard


# A model that takes its time, or is far away.


@pytest.mark.parametrize(
    "probes",
    [Probes(after=0.6), Probes(after=0.9), WHEN_IDLE, Probes(after=0.9, only_when_idle=True), NEVER],
    ids=["after 0.6 s", "after 0.9 s", "when idle", "after 0.9 s, when idle", "never"],
)
async def test_a_model_that_thinks_is_not_given_up_however_it_answers_a_probe(tmp_path, probes):
    habits = Habits(then_thinks=lambda number: 1.8 if number else 0.0, probes=probes)
    async with called(tmp_path, in_order(say(GREETING), say(ANSWER)), habits) as (line, fake):
        await answered(line)
        assert fake.connections[0].is_open


@pytest.mark.parametrize(
    "seconds",
    [
        0.3,
        0.6,
    ],
)
async def test_a_model_that_is_far_away_is_not_given_up(tmp_path, seconds):
    habits = Habits(Away(sent=seconds, received=seconds))
    async with called(tmp_path, in_order(say(GREETING), say(ANSWER)), habits) as (line, fake):
        await answered(line)
        assert fake.connections[0].is_open


@pytest.mark.parametrize(("thinks", "then_thinks"), [(1.4, 0.0), (0.0, 1.4)])
async def test_a_model_that_thinks_for_a_while_is_waited_for_without_a_clip(tmp_path, thinks, then_thinks):
    habits = Habits(thinks=thinks, then_thinks=then_thinks)
    async with called(tmp_path, in_order(say(GREETING), say(ANSWER)), habits) as (line, _):
        await answered(line)
        assert line.heard == GREETING + ANSWER


@pytest.mark.parametrize(
    "dbfs",
    [-14.0, -40.0],
)
async def test_no_clip_is_played_over_a_caller_whom_the_model_hears(tmp_path, dbfs):
    habits = Habits(Away(sent=0.2, received=0.2))  # so that it takes a while to open the next one
    async with called(tmp_path, in_order(say(GREETING), say(ANSWER)), habits) as (line, fake):
        await hears(line, GREETING)

        async def talk_and_note() -> bytes:
            words = tone(0.2, 300, dbfs=dbfs)
            await talk(line, words * 5)
            await fake.close_all(1011, "internal error")
            await talk(line, words * 10)
            heard_meanwhile = line.heard
            await talk(line, PAUSE)
            return heard_meanwhile

        _, heard_meanwhile = await asyncio.gather(hears(line, ANSWER), talk_and_note())
    assert heard_meanwhile == GREETING


async def test_a_model_that_hangs_on_a_noisy_line_is_replaced(tmp_path):
    hangs = At("rate_limits.updated", Hang())  # after the greeting, when it owes nothing
    async with called(tmp_path, in_order(say(GREETING)), None, hangs) as (line, fake):
        await hears(line, GREETING)
        async with noise_on(line, tone(1.0, 200, dbfs=-20.0)):
            await fake.until(lambda: len(fake.connections) > 1)


async def test_an_answer_that_the_server_leaves_out_is_given_in_the_end(tmp_path):
    left_out = iter([False])
    habits = Habits(answers=lambda number: next(left_out, True))
    async with called(tmp_path, in_order(say(GREETING), say(ANSWER)), habits) as (line, _):
        await answered(line)
