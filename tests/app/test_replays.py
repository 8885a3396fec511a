"""Replays of Twilio's requests by somebody who captured them."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from typing import Any
from xml.etree import ElementTree

import pytest
from callgate.peers.linecheck.realtime.response import Speech
from callgate.store import Store
from support.fake_openai import Script, say, tone, tool
from support.outbound_service import THEIRS
from support.relayed import until
from support.service import ACCOUNT, BASE_URL, Service, Stream, config_for, new_sid, running, sign, told_to_repeat
from support.stores import PATIENT

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
    """Check that the sender is redirected to a URL that only Twilio can sign."""
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
    """The call was put through, came back, was cut off, and is live; each of its webhooks is sent again."""
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
@pytest.mark.whole
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
    """It was restarted and stores nothing, so it can't know whether the call is over."""
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

    times = dataclasses.replace(PATIENT, known_deadline=0.05)
    monkeypatch.setattr("callgate.web.app.Store", functools.partial(Store, times=times))
    async with running(config_for(fake.url, tmp_path, STORE="on")) as service:
        assert await service.services.store.call("CA0") is None  # it is open
        monkeypatch.setattr("callgate.store.queries.is_kept", late)
        await service.call()
        assert service.services.store.journal.failure is None
        answers.set()


async def test_a_machine_that_answered_is_hung_up_on_once(outbound_with, twilio):
    async with outbound_with() as service:
        call_sid = await service.placed(THEIRS)
        asked = twilio.requests
        for _ in range(5):
            await service.told("/amd-status", call_sid, AnsweredBy="machine_start")
        await service.told("/amd-status", call_sid, AnsweredBy="machine_start", MachineDetectionDuration="2")
        assert twilio.requests == asked + 1


async def test_a_process_that_had_the_call_before_does_not_believe_an_old_webhook_of_it(fake, tmp_path):
    """The first stream was here; the second is live at another process."""
    fake.script = Script(after=lambda turn: say(HELLO))
    async with (
        running(config_for(fake.url, tmp_path, STORE="on", PORT="1")) as first,
        running(config_for(fake.url, tmp_path, STORE="on", PORT="2")) as second,
    ):
        call = await first.call()
        async with first.stream(call) as line:
            await line.hear(HELLO)
            line.socket.transport.abort()
        await until(lambda: first.services.switchboard.registry.live == 0)
        assert await first.services.store.journal.flush(10)
        _, document = await second.webhook("/call-interrupted?resumed=0", CallSid=call.call_sid)
        async with second.stream(stream_of(call.call_sid, document)) as line:
            await line.hear(HELLO)
            assert await second.services.store.journal.flush(10)
            before, opened = (await record(second, call.call_sid)).call, fake.upgrades
            for path in ("/call-interrupted?resumed=0", "/call-transferred?resumed=0&transfers=1"):
                await leads_nowhere(first, path, form_of(call.call_sid, CallStatus="in-progress"))
            assert await first.services.store.journal.flush(10)
            assert (await record(second, call.call_sid)).call == before
            assert (fake.upgrades, first.services.switchboard.parking.waiting) == (opened, 0)
            await line.hang_up()


async def test_of_many_that_say_the_same_at_once_one_is_believed(fake, tmp_path):
    fake.script = Script(after=lambda turn: say(HELLO))
    async with running(config_for(fake.url, tmp_path, STORE="on")) as service:
        call = await service.call()
        async with service.stream(call) as line:
            await line.hear(HELLO)
            line.socket.transport.abort()
        await until(lambda: service.services.switchboard.registry.live == 0)
        form = form_of(call.call_sid, CallStatus="in-progress")
        answers = await asyncio.gather(*(service.send("/call-interrupted?resumed=0", form) for _ in range(20)))
        connected = ["<Connect>" in document for _, document in answers]
        assert connected.count(True) == 1
        assert await service.services.store.journal.flush(10)
        assert (await record(service, call.call_sid)).call.resumes == 1


async def test_another_request_that_is_cut_from_what_twilio_signed_is_refused(service):
    """Twilio signs names and values as one text without separators."""
    form = form_of(new_sid("CA"), CallStatus="in-progress", DialCallStatus="completed")
    path = "/call-transferred?resumed=0&transfers=1"
    assert (await service.send(path, form))[0] == 200
    other = {name: value for name, value in form.items() if not name.endswith("Status")}
    other["CallStatu"] = "sin-progressDialCallStatuscompleted"
    headers = {"X-Twilio-Signature": sign(BASE_URL + path, form)}
    assert sign(BASE_URL + path, form) == sign(BASE_URL + path, other)
    assert (await service.ask("POST", path, data=other, headers=headers))[0] == 403
    assert (await service.send(path, form))[0] == 200


async def test_a_stream_that_twilio_has_left_unnoticed_makes_room_for_the_next(fake, tmp_path):
    """Its socket is silent, and no end has been reported."""
    fake.script = Script(after=lambda turn: say(HELLO))
    async with running(config_for(fake.url, tmp_path, STORE="on")) as service:
        call = await service.call()
        async with service.stream(call) as left:
            await left.hear(HELLO)
            _, document = await service.webhook("/call-interrupted?resumed=0", CallSid=call.call_sid)
            async with service.stream(stream_of(call.call_sid, document)) as line:
                await line.hear(HELLO)
                assert (await record(service, call.call_sid)).outcome is None
                await line.hang_up()
                assert await line.closed() == 1000


async def test_dead_calls_of_which_nothing_is_kept_do_not_take_all_places(fake, tmp_path):
    async with running(config_for(fake.url, tmp_path, MAX_CALLS="4")) as service:
        for _ in range(10):
            await service.send("/incoming-call", form_of(new_sid("CA"), CallStatus="ringing"))
        assert service.services.switchboard.parking.waiting == 2
        await service.call()  # which Twilio repeats


async def test_a_call_that_did_not_come_is_not_kept_waiting_for_by_repetitions(service, fake):
    form = form_of(new_sid("CA"), CallStatus="ringing")
    registry, parking = service.services.switchboard.registry, service.services.switchboard.parking
    await service.send("/incoming-call", form)
    await service.send("/incoming-call", form)
    parking.drop(form["CallSid"])
    registry.give_up(form["CallSid"])  # as when its minute is over
    await leads_nowhere(service, "/incoming-call", form)
    assert parking.waiting == 0
