"""Requests that Twilio made, and that somebody who captured them sends again."""

from __future__ import annotations

import asyncio
from typing import Any
from xml.etree import ElementTree

import pytest
from callgate.linecheck.response import Speech
from fake_openai import Script, say, tone, tool
from outbound_service import THEIRS
from relayed import until
from service import ACCOUNT, Service, Stream, config_for, new_sid, running, told_to_repeat

HELLO, BACK = tone(0.4, 440), tone(0.4, 660)
AGENTS = """
[default]
tools = ["transfer_call"]
transfer = [{ name = "sales", number = "+15551230008" }]
"""
TRANSFER = tool("transfer_call", to="sales", first=Speech(HELLO, "One moment."))

pytestmark = pytest.mark.usefixtures("log")


def form_of(call_sid: str, **params: str) -> dict[str, str]:
    return {"AccountSid": ACCOUNT, "CallSid": call_sid, "From": "+15551230001", "To": "+15551230002", **params}


def stream_of(call_sid: str, document: str) -> Stream:
    stream = ElementTree.fromstring(document).find("./Connect/Stream")
    assert stream is not None, document
    return Stream(call_sid, stream.attrib["url"].partition("example.com")[2], stream[0].attrib["value"])


async def leads_nowhere(service: Service, path: str, form: dict[str, str]) -> None:
    """Whoever sends this is told to send it elsewhere, which only Twilio can."""
    status, document = await service.send(path, form)
    assert (status, told_to_repeat(document) is not None) == (200, True), document


async def record(service: Service, call_sid: str) -> Any:
    return await service.services.switchboard.ledger.memory(call_sid)


async def test_a_call_that_ended_is_not_admitted_anew_and_opens_no_model(service, fake, log):
    begins, ends = form_of(new_sid("CA"), CallStatus="ringing"), {"CallStatus": "completed"}
    for _ in range(20):
        assert (await service.send("/incoming-call", begins))[0] == 200
        assert (await service.send("/call-status", {**begins, **ends}))[0] == 204
    for path in ("/incoming-call", "/call-interrupted?resumed=0", "/call-transferred?resumed=0&transfers=1"):
        _, document = await service.send(path, begins)
        assert [verb.tag for verb in ElementTree.fromstring(document)] == ["Hangup"]
    assert fake.upgrades <= 1
    assert not service.services.switchboard.registry.holds(begins["CallSid"])
    assert "Traceback" not in log.getvalue()


@pytest.mark.parametrize("path", ["/incoming-call", "/call-interrupted", "/call-transferred?resumed=0&transfers=1"])
async def test_a_webhook_that_says_that_the_call_is_over_admits_nobody(service, fake, path):
    _, document = await service.send(path, form_of(new_sid("CA"), CallStatus="completed"))
    assert [verb.tag for verb in ElementTree.fromstring(document)] == ["Hangup"]
    assert service.services.switchboard.parking.waiting == fake.upgrades == 0


async def test_twilio_that_asks_twice_before_the_stream_is_told_the_same_and_one_model_is_opened(service, fake):
    fake.script = Script((say(HELLO),))
    form = form_of(new_sid("CA"), CallStatus="ringing")
    for _ in range(3):
        _, document = await service.send("/incoming-call", form)
    async with service.stream(stream_of(form["CallSid"], document)) as line:
        await line.hear(HELLO)
        await line.hang_up()
    assert fake.upgrades == 1


@pytest.mark.parametrize("store", ["on", "off"])
async def test_what_was_said_of_a_live_call_before_changes_nothing_of_it(fake, tmp_path, store):
    """It was put through, came back, was cut off, and is live: each webhook of that comes again."""
    agents = tmp_path / "agents.toml"
    agents.write_text(AGENTS)
    answers = [TRANSFER, say(BACK, "I am back."), say(BACK, "Where were we?")]
    fake.script = Script(after=lambda turn: answers[len(fake.connections) - 1])
    async with running(config_for(fake.url, tmp_path, AGENTS_FILE=str(agents), STORE=store)) as service:
        call_sid = new_sid("CA")
        captured = [("/incoming-call", form_of(call_sid, CallStatus="ringing"))]
        fallback = form_of(call_sid, ErrorCode="11200", ErrorUrl="https://voice.example.com/incoming-call")
        captured.append(("/call-interrupted", fallback))
        for _, form in captured:  # the first answer was lost
            _, document = await service.send("/incoming-call", form)
        async with service.stream(stream_of(call_sid, document)) as line:
            await line.hear(HELLO)
            assert await line.closed() == 1000
        in_progress = form_of(call_sid, CallStatus="in-progress")
        for path, form in (
            ("/call-interrupted?resumed=0", in_progress),
            ("/call-transferred?resumed=0&transfers=1", {**in_progress, "DialCallStatus": "busy"}),
        ):
            captured.append((path, form))
            _, document = await service.send(path, form)
        async with service.stream(stream_of(call_sid, document)) as line:
            await line.hear(BACK)
            line.socket.transport.abort()
        await until(lambda: service.services.switchboard.registry.live == 0)
        captured.append(("/call-interrupted?resumed=0&transfers=1", in_progress))
        _, document = await service.send(*captured[-1])
        async with service.stream(stream_of(call_sid, document)) as line:
            await line.hear(BACK)
            before, opened = await record(service, call_sid), fake.upgrades
            for path, form in (*captured, ("/call-interrupted?resumed=1&transfers=1", in_progress)):
                await leads_nowhere(service, path, form)
            assert await record(service, call_sid) == before
            assert (fake.upgrades, service.services.switchboard.parking.waiting) == (opened, 0)
            await line.hang_up()
            assert await line.closed() == 1000


@pytest.mark.parametrize(
    "path",
    [
        "/incoming-call",
        "/call-interrupted?resumed=0",
        "/call-interrupted?resumed=1",
        "/call-transferred?resumed=0&transfers=2",
    ],
)
async def test_another_process_does_not_believe_it_either(fake, tmp_path, path):
    fake.script = Script((say(HELLO),))
    async with (
        running(config_for(fake.url, tmp_path, STORE="on", PORT="1")) as first,
        running(config_for(fake.url, tmp_path, STORE="on", PORT="2")) as second,
    ):
        call = await first.call()
        async with first.stream(call) as line:
            await line.hear(HELLO)
            assert await first.services.store.journal.flush(10)
            before = (await record(first, call.call_sid)).call
            await leads_nowhere(second, path, form_of(call.call_sid, CallStatus="ringing"))
            assert (await record(first, call.call_sid)).call == before
            assert fake.upgrades == 1
            await line.hang_up()


async def test_a_process_that_knows_nothing_of_a_call_is_told_so_by_twilio_alone(service, fake):
    """It was started anew, and keeps nothing: whether the call is dead, it can't know."""
    await leads_nowhere(service, "/call-interrupted?resumed=0", form_of(new_sid("CA"), CallStatus="in-progress"))
    await leads_nowhere(service, "/call-transferred?resumed=0&transfers=1", form_of(new_sid("CA")))
    assert service.services.switchboard.parking.waiting == fake.upgrades == 0


async def test_who_comes_back_as_told_is_believed_once(service):
    form = form_of(new_sid("CA"), CallStatus="in-progress")
    _, document = await service.send("/call-interrupted?resumed=1", form)
    again = told_to_repeat(document)
    assert again is not None
    await leads_nowhere(service, again, form_of(new_sid("CA")))  # another call's
    _, document = await service.send(again, form)
    assert ElementTree.fromstring(document).find("./Connect/Stream") is not None
    await leads_nowhere(service, again, form)


async def test_a_store_that_does_not_answer_turns_no_caller_away(fake, tmp_path, monkeypatch):
    answers = asyncio.Event()

    async def late(*_: object) -> bool:
        await answers.wait()
        return True

    async with running(config_for(fake.url, tmp_path, STORE="on")) as service:
        await until(lambda: service.services.store._checked_in)
        monkeypatch.setattr("callgate.store.queries.is_kept", late)
        await service.call()
        assert service.services.store._database.failure is None
        answers.set()


async def test_a_machine_that_answered_is_hung_up_on_once(outbound_with, twilio):
    async with outbound_with() as service:
        call_sid = await service.placed(THEIRS)
        asked = twilio.requests
        for _ in range(5):
            await service.told("/amd-status", call_sid, AnsweredBy="machine_start")
        await service.told("/amd-status", call_sid, AnsweredBy="machine_start", MachineDetectionDuration="2")
        assert twilio.requests == asked + 1
