"""What Twilio is told when the agent has left a call by intent, by the process that had it or by another."""

from __future__ import annotations

import asyncio
from pathlib import Path
from xml.etree import ElementTree

import pytest
from callgate.commands import Outcome
from callgate.config import Config
from callgate.linecheck.response import Answer, Speech
from fake_openai import FakeOpenAI, Script, say, tone, tool
from service import BASE_URL, Service, Stream, config_for, running

HELLO, BACK = tone(0.4, 440), tone(0.4, 660)
AGENTS = """
[default]
tools = ["transfer_call", "send_digits"]
transfer = [{ name = "sales", number = "+15551230008" }]
"""
TRANSFER = tool("transfer_call", to="sales", first=Speech(HELLO, "One moment."))
DIGITS = tool("send_digits", digits="12", first=Speech(HELLO, "I press the keys."))

pytestmark = pytest.mark.usefixtures("log")


def config(fake: FakeOpenAI, tmp_path: Path, **settings: str) -> Config:
    agents = tmp_path / "agents.toml"
    agents.write_text(AGENTS)
    return config_for(fake.url, tmp_path, AGENTS_FILE=str(agents), **{"STORE": "on", **settings})


def leaves_and_comes_back(fake: FakeOpenAI, how: Answer) -> None:
    fake.script = Script(after=lambda turn: how if len(fake.connections) == 1 else say(BACK, "Here I am."))


async def left(service: Service) -> Stream:
    """A call that the agent has left."""
    call = await service.call()
    async with service.stream(call) as line:
        await line.hear(HELLO)
        assert await line.closed() == 1000
    return call


async def asked(service: Service, path: str, call: Stream, **params: str) -> ElementTree.Element:
    status, document = await service.webhook(path, CallSid=call.call_sid, **params)
    assert status == 200
    return ElementTree.fromstring(document)


async def known(service: Service, call: Stream, outcome: Outcome) -> None:
    """Wait until this is how the call ended, as the store has it."""
    async with asyncio.timeout(10):
        while (await service.services.switchboard.ledger.memory(call.call_sid)).outcome is not outcome:  # noqa: ASYNC110
            await asyncio.sleep(0)


def action(document: ElementTree.Element) -> str:
    dial = document.find("./Dial")
    assert dial is not None
    return dial.attrib["action"].removeprefix(BASE_URL)


def stream_of(call: Stream, document: ElementTree.Element) -> Stream:
    stream = document.find("./Connect/Stream")
    assert stream is not None
    path = stream.attrib["url"].removeprefix(BASE_URL.replace("https", "wss"))
    return Stream(call.call_sid, path, stream[0].attrib["value"])


def told(fake: FakeOpenAI) -> list[str]:
    """The texts that the second session was told."""
    events = [event for event in fake.connections[1].received if event["type"] == "conversation.item.create"]
    return [event["item"]["content"][0]["text"] for event in events]


async def test_another_process_puts_the_caller_through_and_a_third_takes_them_back(fake, tmp_path):
    leaves_and_comes_back(fake, TRANSFER)
    async with (
        running(config(fake, tmp_path, PORT="1")) as first,
        running(config(fake, tmp_path, PORT="2")) as second,
        running(config(fake, tmp_path, PORT="3")) as third,
    ):
        call = await left(first)
        await known(second, call, Outcome.TRANSFERRED)
        dial = await asked(second, "/call-interrupted?resumed=0", call)
        assert dial.findtext("./Dial/Number") == "+15551230008"
        again = await asked(third, action(dial), call, DialCallStatus="no-answer")
        async with third.stream(stream_of(call, again)) as line:
            await line.hear(BACK)
        record = await third.services.store.memory(call.call_sid)
    assert told(fake) == [
        "One moment.",
        "[The call was put through to sales, and nobody answered. The caller is back with you.]",
    ]
    assert record.call.resumes == 0
    (respond,) = [event for event in fake.connections[1].received if event["type"] == "response.create"]
    assert "back on the line" in respond["response"]["instructions"]


async def test_another_process_sends_the_keys(fake, tmp_path):
    leaves_and_comes_back(fake, DIGITS)
    async with (
        running(config(fake, tmp_path, PORT="1")) as first,
        running(config(fake, tmp_path, PORT="2")) as second,
    ):
        call = await left(first)
        await known(second, call, Outcome.SENDING_DIGITS)
        document = await asked(second, "/call-interrupted?resumed=0", call)
        assert [verb.tag for verb in document] == ["Play", "Connect", "Redirect"]
        async with second.stream(stream_of(call, document)) as line:
            await line.hear(BACK)
    assert told(fake)[-1] == "[These keys were sent into the line: 12]"


async def test_without_a_store_the_agent_is_back_with_the_note_alone(fake, tmp_path):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path, STORE="off")) as service:
        call = await left(service)
        dial = await asked(service, "/call-interrupted?resumed=0", call)
        again = await asked(service, action(dial), call, DialCallStatus="busy")
        async with service.stream(stream_of(call, again)) as line:
            await line.hear(BACK)
    assert told(fake) == ["[The call was put through to sales, and the line was busy. The caller is back with you.]"]


async def test_twilio_that_asks_twice_is_told_the_same(fake, tmp_path):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        first, again = [await asked(service, "/call-interrupted?resumed=0", call) for _ in range(2)]
    assert ElementTree.tostring(first) == ElementTree.tostring(again)


@pytest.mark.parametrize("store", ["on", "off"])
async def test_a_caller_who_comes_back_and_is_cut_off_is_not_put_through_anew(fake, tmp_path, store):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path, STORE=store)) as service:
        call = await left(service)
        dial = await asked(service, "/call-interrupted?resumed=0", call)
        back = await asked(service, action(dial), call, DialCallStatus="no-answer")
        redirect = (back.findtext("./Redirect") or "").removeprefix(BASE_URL)
        again = await asked(service, redirect, call)  # Twilio could not open the stream
    assert again.find("./Connect/Stream") is not None
    assert again.findtext("./Redirect") == f"{BASE_URL}/call-interrupted?resumed=1&transfers=1"


@pytest.mark.parametrize("status", ["completed", "answered"])
async def test_when_somebody_answered_the_call_is_over(fake, tmp_path, status):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        document = await asked(service, "/call-transferred?resumed=0&transfers=1", call, DialCallStatus=status)
    assert [verb.tag for verb in document] == ["Hangup"]


async def test_for_a_caller_who_hung_up_while_it_rang_no_session_of_the_models_is_opened(fake, tmp_path):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        over = {"DialCallStatus": "canceled", "CallStatus": "completed"}
        document = await asked(service, "/call-transferred?resumed=0&transfers=1", call, **over)
    assert [verb.tag for verb in document] == ["Hangup"]
    assert fake.upgrades == 1


async def test_where_nginx_had_the_caller_wait_it_is_not_known_what_came_of_it_and_the_agent_goes_on(fake, tmp_path):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        document = await asked(service, "/call-transferred?resumed=0&waited=1", call)
        async with service.stream(stream_of(call, document)) as line:
            await line.hear(BACK)
    assert "not known whether anybody answered" in told(fake)[-1]


async def test_a_process_that_is_stopping_leaves_the_caller_to_another(fake, tmp_path):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        service.services.switchboard.registry.draining = True
        document = await asked(service, "/call-transferred?resumed=1&transfers=2", call, DialCallStatus="busy")
    assert document.findtext("./Redirect") == f"{BASE_URL}/call-transferred?resumed=1&transfers=2"


async def test_nobody_is_rung_a_fourth_time_whatever_a_process_remembers(fake, tmp_path):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        document = await asked(service, "/call-interrupted?resumed=0&transfers=3", call)
    assert document.find("./Dial") is None
    assert document.find("./Connect/Stream") is not None
