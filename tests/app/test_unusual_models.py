"""A model that lives, but whose events come in another order or another shape than usual, or more than once: what the
caller said and pressed is answered, tools run once, and a goodbye is heard."""

from __future__ import annotations

import json

import pytest
from callgate.peers.linecheck.realtime.response import ScriptedResponse, Speech, SpeechPace
from support.fake_openai import At, Away, Behind, Habits, Script, asking, interleaved, say, tone, tool, tools
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
    press,
    responses_begun,
)
from support.tool_server import tool_server

pytestmark = pytest.mark.whole

AGENTS = """
[default]
tools = ["hang_up"]

[[default.http]]
name = "look_up"
description = "Looks it up."
url = "https://localhost:{}/echo"
"""


# What comes in another order, or in another shape.


@pytest.mark.parametrize("names_events", [True, False])
@pytest.mark.parametrize(
    "refuses_late",
    [
        False,
        True,
    ],
)
async def test_keys_that_cross_with_an_answer_are_answered_after_it(tmp_path, refuses_late, names_events):
    habits = Habits(
        Away(sent=0.2),
        then_thinks=lambda number: 0.3 if number == 1 else 0.0,
        names_events=names_events,
        refuses_late=refuses_late,
    )
    async with called(tmp_path, in_order(say(GREETING), say(ANSWER), say(LAST)), habits) as (line, fake):
        await hears(line, GREETING)
        await line.say(WORDS + PAUSE)
        await press(line, "42#")
        await hears(line, LAST)
        assert [error["code"] for error in fake.errors] == ["conversation_already_has_active_response"]
        assert ANSWER in line.heard


@pytest.mark.parametrize(
    "held",
    [
        At("response.created", Behind("response.output_audio.delta"), turn=2),
        At("response.output_audio.delta", Behind("response.done"), turn=2, nth=2),
        At("input_audio_buffer.speech_stopped", Behind("input_audio_buffer.committed")),
        At("response.done", Behind("rate_limits.updated"), turn=2),
    ],
    ids=["delta before created", "delta behind done", "stopped behind committed", "done behind limits"],
)
async def test_events_in_another_order_cost_no_answer(tmp_path, held):
    async with called(tmp_path, in_order(say(GREETING), say(ANSWER), say(LAST)), None, held) as (line, _):
        await answered(line)
        await line.say(WORDS + PAUSE)
        await hears(line, LAST)


async def test_words_that_can_not_be_transcribed_are_answered(tmp_path):
    script = Script((say(GREETING), say(ANSWER)), transcript=lambda audio: None)
    async with called(tmp_path, script) as (line, _):
        await answered(line)


INTERLEAVED = (Speech(tone(20), "One."), Speech(tone(20, 550), "Other."))
IN_PARTS = (Speech(tone(20), "One.", content_index=1), Speech(tone(20, 550), "Other."))


@pytest.mark.parametrize(
    "speech",
    [
        interleaved(*INTERLEAVED),
        interleaved(*IN_PARTS),
        ScriptedResponse(IN_PARTS[:1]),
        ScriptedResponse((Speech(b"", "Muted."), Speech(tone(20), "One."))),
    ],
    ids=["interleaved", "interleaved parts", "second part", "behind a muted one"],
)
async def test_whatever_the_shape_of_what_is_interrupted_the_model_learns_what_was_heard(tmp_path, speech):
    script = in_order(speech, say(ANSWER), pace=SpeechPace(times=8.0))
    async with called(tmp_path, script, hold_marks=True) as (line, fake):
        await line.listen(lambda line: len(line.heard) > 80_000)  # which takes more than a second
        await line.say(WORDS)
        await line.listen(lambda line: line.clears == 1)
        await line.say(PAUSE)
        await hears(line, ANSWER)
        told = [event["audio_end_ms"] for event in fake.events("conversation.item.truncate")]
        assert len(told) == sum(bool(each.audio) for each in speech.outputs)
        assert 1000 <= sum(told) < 10_000
        assert max(told) - min(told) <= 200  # they take turns of 200 ms
        assert fake.errors == []


# Tools, and the end of the call.


@pytest.mark.parametrize("together", [True, False])
async def test_a_tool_that_is_called_twice_by_one_call_runs_once(tmp_path, monkeypatch, together):
    call = asking("look_up", call_id="call_1", number="7")
    asked = (tools(call, call),) if together else (tools(call), tools(call))
    async with tool_server(tmp_path, name="localhost") as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificates.ca))
        (tmp_path / "agents.toml").write_text(AGENTS.format(server.port))
        settings = {"AGENTS_FILE": str(tmp_path / "agents.toml"), "HTTP_TOOLS_ALLOW": f"localhost:{server.port}"}
        async with called(tmp_path, in_order(say(GREETING), *asked, say(ANSWER)), **settings) as (line, _):
            await answered(line)
    assert [json.loads(request.body) for request in server.asked] == [{"number": "7"}]


async def test_a_goodbye_that_the_caller_spoke_into_before_it_was_heard_does_not_end_the_call(tmp_path):
    goodbye = tool("hang_up", first=Speech(LAST, "Goodbye."))
    habits = Habits(Away(sent=0.2))
    async with called(tmp_path, in_order(say(GREETING), goodbye, say(ANSWER)), habits) as (line, fake):
        await hears(line, GREETING)
        await line.say(WORDS)
        await press(line, "#")  # asks for a response, before it is known that the caller speaks
        await fake.until(lambda: responses_begun(fake) == 2)
        await line.say(PAUSE)
        await hears(line, ANSWER)
        assert LAST not in line.heard


async def test_a_goodbye_that_follows_the_call_of_hang_up_is_heard(tmp_path):
    script = in_order(say(GREETING), tool("hang_up"), say(LAST, "Goodbye."))
    async with called(tmp_path, script) as (line, _):
        await answered(line, LAST)
        assert await line.closed() == 1000
