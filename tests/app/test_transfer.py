"""Twilio's instructions after the agent deliberately left a call, from the process that had it or from another."""

from __future__ import annotations

import asyncio
import functools
from datetime import timedelta
from pathlib import Path
from xml.etree import ElementTree

import pytest
from callgate.agents.assigned import Assigned, now
from callgate.config.settings import Config
from callgate.core.turns.commands import Outcome
from callgate.core.turns.limits import Step
from callgate.peers.linecheck.realtime.response import ScriptedResponse, Speech
from support.fake_openai import FakeOpenAI, Script, say, tone, tool
from support.service import BASE_URL, PROOF, Service, Stream, config_for, running

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


def leaves_and_comes_back(fake: FakeOpenAI, how: ScriptedResponse) -> None:
    fake.script = Script(after=lambda turn: how if len(fake.connections) == 1 else say(BACK, "Here I am."))


async def left(service: Service) -> Stream:
    """Return a call that the agent has left."""
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
    """Wait until the store has this outcome for the call."""
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
    """Return the texts that the second session was told."""
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
    assert again.findtext("./Redirect") == f"{BASE_URL}/call-interrupted?resumed=1&transfers=1&proof={PROOF}"


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
    assert (
        document.findtext("./Redirect")
        == f"{BASE_URL}/call-transferred?resumed=1&transfers=2&proof={PROOF}&dialed=busy"
    )


@pytest.mark.parametrize(
    ("dialed", "form", "note"),
    [
        ("busy", {}, "the line was busy"),
        ("busy", {"DialCallStatus": "no-answer"}, "nobody answered"),
        ("nonsense", {}, "not known whether anybody answered"),
        ("completed", {}, None),
    ],
)
async def test_what_came_of_it_is_known_though_the_caller_had_to_wait(fake, tmp_path, dialed, form, note):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        path = f"/call-transferred?resumed=0&transfers=1&dialed={dialed}&waited=1"
        document = await asked(service, path, call, **form)
        if note is None:
            assert [verb.tag for verb in document] == ["Hangup"]
            return
        async with service.stream(stream_of(call, document)) as line:
            await line.hear(BACK)
    assert note in told(fake)[-1]


@pytest.mark.parametrize(("how", "counts"), [(TRANSFER, "sendings=20"), (DIGITS, "transfers=3")])
async def test_what_the_agent_has_done_often_enough_keeps_it_from_nothing_else(fake, tmp_path, how, counts):
    leaves_and_comes_back(fake, how)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        document = await asked(service, f"/call-interrupted?resumed=0&{counts}", call)
    assert document[0].tag == ("Dial" if how is TRANSFER else "Play")


@pytest.mark.parametrize("status", ["completed", "no-answer"])
async def test_a_transfer_of_which_twilio_could_not_tell_is_not_made_again(fake, tmp_path, status):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        await asked(service, "/call-interrupted?resumed=0", call)
        document = await asked(service, "/call-interrupted", call, DialCallStatus=status)
    assert document[0].tag == ("Hangup" if status == "completed" else "Connect")


async def test_a_transfer_is_not_made_again_where_twilio_only_says_which_request_failed(fake, tmp_path):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        dial = await asked(service, "/call-interrupted?resumed=0", call)
        error = {"ErrorCode": "11200", "ErrorUrl": BASE_URL + action(dial)}
        document = await asked(service, "/call-interrupted", call, **error)
        async with service.stream(stream_of(call, document)) as line:
            await line.hear(BACK)
    assert "not known whether anybody answered" in told(fake)[-1]


@pytest.mark.parametrize("how", [TRANSFER, DIGITS])
@pytest.mark.parametrize("elsewhere", [False, True])
@pytest.mark.whole
async def test_the_longest_time_is_the_calls_however_often_the_agent_left_it(
    fake, tmp_path, monkeypatch, how, elsewhere
):
    leaves_and_comes_back(fake, how)
    later = timedelta()
    monkeypatch.setattr(
        "callgate.switchboard.switchboard.Assigned", functools.partial(Assigned, clock=lambda: now() + later)
    )
    settings = config(fake, tmp_path, PORT="1"), config(fake, tmp_path, PORT="2")
    async with running(settings[0]) as first, running(settings[1]) as second:
        call = await left(first)
        await known(second, call, Outcome.TRANSFERRED if how is TRANSFER else Outcome.SENDING_DIGITS)
        service = second if elsewhere else first
        later = timedelta(hours=1)
        document = await asked(service, "/call-interrupted?resumed=0", call)
        if how is TRANSFER:
            document = await asked(service, action(document), call, DialCallStatus="busy")
        async with service.stream(stream_of(call, document)) as line:
            await fake.until(lambda: len(fake.connections) > 1 and Step.TIME_UP.value in told(fake))
            await line.hang_up()


async def test_the_streams_of_a_call_have_one_receipt_for_all(fake, tmp_path):
    leaves_and_comes_back(fake, DIGITS)
    async with running(config(fake, tmp_path)) as service:
        ledger = service.services.switchboard.ledger
        call = await left(service)
        await known(service, call, Outcome.SENDING_DIGITS)
        before = (await ledger.memory(call.call_sid)).call.receipt
        document = await asked(service, "/call-interrupted?resumed=0", call)
        async with service.stream(stream_of(call, document)) as line:
            await line.hear(BACK)
            await line.hang_up()
            assert await line.closed() == 1000
        await known(service, call, Outcome.CALLER_HUNG_UP)
        after = (await ledger.memory(call.call_sid)).call.receipt
    assert after["frames_out"] > before["frames_out"] > 0
    assert after["first_audio_ms"] == before["first_audio_ms"]
    assert after["ended"] == "caller_hung_up"


async def test_nobody_is_rung_a_fourth_time_whatever_a_process_remembers(fake, tmp_path):
    leaves_and_comes_back(fake, TRANSFER)
    async with running(config(fake, tmp_path)) as service:
        call = await left(service)
        document = await asked(service, "/call-interrupted?resumed=0&transfers=3", call)
    assert document.find("./Dial") is None
    assert document.find("./Connect/Stream") is not None
