"""Outbound calls: the request to Twilio, what follows when a person or a machine answers, and the events reported."""

from __future__ import annotations

import asyncio
import re
import threading
from xml.etree import ElementTree

import pytest
from callgate.operator import service as operators_service
from callgate.outbound import calls as outbound_module
from support.outbound_service import ADMIN, OURS, THEIRS
from support.project import ROOT
from support.relayed import until
from support.service import PROOF, Stream
from support.twilio_rest import Redirected


@pytest.fixture
async def service(outbound_with):
    async with outbound_with() as service:
        yield service


def names(news) -> list[str]:
    return [event["name"] for event in news["events"]]


# The request to Twilio.


async def test_a_call_is_placed_with_this_services_webhooks_and_watched_for_a_machine(service, twilio):
    status, answer, _ = await service.call("+1 (555) 765-4321", limit=90)
    assert (status, answer["to"]) == (201, "+*********21")
    assert answer["call_sid"] == twilio.placed[0].sid
    (call,) = twilio.calls
    assert {name: values for name, values in call.items() if name != "StatusCallbackEvent"} == {
        "To": [THEIRS],
        "From": [OURS],
        "Url": [f"https://voice.example.com/incoming-call?proof={PROOF}"],
        "StatusCallback": ["https://voice.example.com/call-status"],
        "Timeout": ["30"],
        "TimeLimit": ["90"],
        "MachineDetection": ["Enable"],
        "AsyncAmd": ["true"],
        "AsyncAmdStatusCallback": ["https://voice.example.com/amd-status"],
    }


async def test_a_message_is_left_at_the_end_of_the_machines_greeting(service, twilio):
    await service.placed(voicemail="Hello & goodbye")
    (call,) = twilio.calls
    assert call["MachineDetection"] == ["DetectMessageEnd"]
    assert call["AsyncAmdStatusCallback"] == ["https://voice.example.com/amd-status?message=Hello+%26+goodbye"]


async def test_nobody_looks_for_a_machine_where_the_agent_is_to_talk_to_it(outbound_with, twilio):
    async with outbound_with(VOICEMAIL="talk") as service:
        await service.placed()
    assert "MachineDetection" not in twilio.calls[0]


async def test_another_number_of_the_account_may_be_the_callers(service, twilio):
    twilio.numbers.append("+15551230008")
    await service.placed(**{"from": "+15551230008"})
    assert twilio.calls[0]["From"] == ["+15551230008"]
    status, answer, _ = await service.call(**{"from": "+15551110000"})
    assert (status, "21210" in answer["error"]) == (502, True)


@pytest.mark.parametrize("given", [{"voicemail": "two\nlines"}, {"voicemail": "x" * 501}, {"limit": "soon"},
                                   {"limit": 1}, {"from": "me"}, {"number": THEIRS}])  # fmt: skip
async def test_what_is_wrong_with_a_request_is_said(service, twilio, given):
    status, answer, _ = await service.call(**given)
    assert (status, next(iter(given)) in answer["error"]) == (400, True)
    assert twilio.requests == 0


# Who answers.


async def answered(service, who: str, **options: str) -> str:
    """Place a call that is answered, with Twilio's report of who answered."""
    call_sid = await service.placed(**options)
    twilio = service.twilio
    twilio.live[call_sid] = "in-progress"
    await service.told("/call-status", call_sid, CallStatus="in-progress")
    path = twilio.placed[-1].parameter("AsyncAmdStatusCallback").removeprefix("https://voice.example.com")
    await service.told(path, call_sid, AnsweredBy=who, MachineDetectionDuration="2500")
    return call_sid


@pytest.fixture
def twilio_of(service, twilio):
    service.twilio = twilio
    return service


@pytest.mark.parametrize("who", ["human", "unknown"])
@pytest.mark.parametrize("voicemail", ["hang-up", "Please call back."])
async def test_a_human_is_left_with_the_agent_and_so_is_who_can_not_be_told(twilio_of, twilio, who, voicemail):
    call_sid = await answered(twilio_of, who, voicemail=voicemail)
    assert twilio.placed[0].updates == []
    news = await twilio_of.news(call_sid)
    assert (news["answered_by"], names(news)) == (who, ["queued", "answered", who])


@pytest.mark.parametrize("who", ["machine_start", "fax"])
async def test_a_machine_is_hung_up_on(twilio_of, twilio, who):
    call_sid = await answered(twilio_of, who)
    assert twilio.placed[0].updates == [{"Status": "completed"}]
    assert names(await twilio_of.news(call_sid))[-1] == "hung up"


@pytest.mark.parametrize("who", ["machine_end_beep", "machine_end_silence", "machine_end_other"])
async def test_a_machine_is_left_the_message(twilio_of, twilio, who):
    call_sid = await answered(twilio_of, who, voicemail="Please call <us> back.")
    said = ElementTree.fromstring(twilio.updates[call_sid])
    assert [(verb.tag, verb.text) for verb in said] == [("Say", "Please call <us> back."), ("Hangup", None)]
    assert names(await twilio_of.news(call_sid))[-1] == "message"


async def test_the_message_is_said_in_the_agents_language(outbound_with, twilio, tmp_path):
    agents = tmp_path / "agents.toml"
    agents.write_text('[default]\nlanguage = "de-DE"\n')
    async with outbound_with(AGENTS_FILE=str(agents)) as service:
        service.twilio = twilio
        call_sid = await answered(service, "machine_end_beep", voicemail="Bitte rufen Sie zurück.")
    (say, _) = ElementTree.fromstring(twilio.updates[call_sid])
    assert (say.text, say.attrib) == ("Bitte rufen Sie zurück.", {"language": "de-DE"})


async def test_a_fax_is_left_no_message(twilio_of, twilio):
    await answered(twilio_of, "fax", voicemail="Please call back.")
    assert twilio.placed[0].updates == [{"Status": "completed"}]


async def test_the_message_of_the_setting_is_left_where_the_request_says_nothing(outbound_with, twilio):
    async with outbound_with(VOICEMAIL="We called you.") as service:
        service.twilio = twilio
        call_sid = await answered(service, "machine_end_beep")
    assert "We called you." in twilio.updates[call_sid]


async def test_a_machine_that_has_hung_up_by_then_is_no_fault(twilio_of, twilio, log):
    call_sid = await twilio_of.placed(voicemail="Please call back.")
    twilio.live[call_sid] = "completed"
    await twilio_of.told("/amd-status?message=x", call_sid, AnsweredBy="machine_end_beep")
    assert "unless it is over" in log.getvalue()
    assert "Traceback" not in log.getvalue()


async def test_nobody_but_twilio_says_who_answered(twilio_of, twilio):
    call_sid = await twilio_of.placed()
    form = {"CallSid": call_sid, "AnsweredBy": "machine_start"}
    assert (await twilio_of.service.ask("POST", "/amd-status", data=form))[0] == 403
    assert twilio.placed[0].updates == []


# While it rings, and after.


async def test_the_models_session_is_opened_while_it_rings_and_the_call_adopts_it(service, fake, twilio):
    call_sid = await service.placed()
    await until(lambda: fake.upgrades == 1)
    parking = service.service.services.switchboard.parking
    assert parking.waiting == 1
    await service.told("/call-status", call_sid, CallStatus="ringing")
    form = {"CallSid": call_sid, "Direction": "outbound-api", "From": OURS, "To": THEIRS}
    _, document = await service.service.webhook("/incoming-call", **form)
    stream = ElementTree.fromstring(document).find("./Connect/Stream")
    path = stream.attrib["url"].removeprefix("wss://voice.example.com")
    async with service.service.stream(Stream(call_sid, path, stream[0].attrib["value"])) as line:
        await until(lambda: parking.waiting == 0)
        assert fake.upgrades == 1
        await line.hang_up()
        await line.closed()


async def test_the_session_of_a_call_that_nobody_answers_is_closed(service, fake):
    call_sid = await service.placed()
    await service.told("/call-status", call_sid, CallStatus="no-answer")
    switchboard = service.service.services.switchboard
    assert (switchboard.parking.waiting, switchboard.registry.holds(call_sid)) == (0, False)
    news = await service.news(call_sid)
    assert (news["over"], news["status"], names(news)) == (True, "no-answer", ["queued", "ended"])


async def test_a_call_of_our_own_is_kept_with_its_direction_answered_or_not(outbound_with):
    async with outbound_with(STORE="on") as service:
        call_sid = await service.placed()
        await service.told("/call-status", call_sid, CallStatus="busy")
        store = service.service.services.store
        assert await store.journal.flush(10)
        call = (await store.call(call_sid)).call
    assert (call.direction, call.from_number, call.to_number, call.outcome) == ("outbound-api", OURS, THEIRS, "busy")


async def test_a_call_that_ended_before_twilios_answer_came_holds_nothing_and_is_kept_as_ended(outbound_with, twilio):
    held = HeldAnswer(twilio.http_client)
    twilio.http_client = held
    async with outbound_with(STORE="on") as service:
        asking = asyncio.create_task(service.call())
        await until(held.done.is_set)
        call_sid = twilio.placed[0].sid
        await service.told("/call-status", call_sid, CallStatus="failed")
        held.go_on.set()
        assert (await asking)[0] == 201
        switchboard, store = service.service.services.switchboard, service.service.services.store
        assert (switchboard.parking.waiting, switchboard.registry.holds(call_sid)) == (0, False)
        assert await store.journal.flush(10)
        call = (await store.call(call_sid)).call
    assert (call.direction, call.to_number, call.outcome) == ("outbound-api", THEIRS, "failed")


async def test_a_process_that_is_late_places_calls_while_few_are_on_the_line(outbound_with, monkeypatch):
    monkeypatch.setattr("callgate.switchboard.loop_pulse.LATE", -1.0)  # so that every beat counts as late
    async with outbound_with(MAX_CALLS="3") as service:
        await until(lambda: service.service.services.switchboard.pulse.is_late)
        first, _, _ = await service.call(key="one")
        second, answer, _ = await service.call(key="two")
    assert (first, second, answer["error"]) == (201, 503, "All lines are busy (MAX_CALLS).")


async def test_nobody_is_given_the_line_of_a_call_that_is_placed(outbound_with, monkeypatch):
    async with outbound_with(MAX_CALLS="1") as service:
        placements, settling = service.service.services.store.placements, asyncio.Event()
        settle, go_on = placements.settle, asyncio.Event()

        async def slowly(*args):
            settling.set()
            await go_on.wait()
            await settle(*args)

        monkeypatch.setattr(type(placements), "settle", lambda _, *args: slowly(*args))
        asking = asyncio.create_task(service.call())
        await settling.wait()
        _, document = await service.service.webhook("/incoming-call", CallSid="CA" + "3" * 32)
        go_on.set()
        status, answer, _ = await asking
        ours = {"CallSid": answer["call_sid"], "Direction": "outbound-api", "From": OURS, "To": THEIRS}
        _, answered = await service.service.webhook("/incoming-call", **ours)
    assert (status, "busy" in document, "<Stream" in answered) == (201, True, True)


async def test_who_waits_for_news_gets_them_when_they_come(service):
    call_sid = await service.placed()
    waiting = asyncio.create_task(service.news(call_sid, after=1, wait=15))
    await service.told("/call-status", call_sid, CallStatus="ringing")
    assert names(await waiting) == ["ringing"]
    await service.told("/stream-status", call_sid, StreamEvent="stream-started")
    await service.told("/call-status", call_sid, CallStatus="completed", CallDuration="7")
    news = await service.news(call_sid, after=2)
    assert [(event["name"], event["text"]) for event in news["events"]] == [
        ("talking", ""), ("ended", "completed, after 7 s")
    ]  # fmt: skip


async def test_news_that_come_late_or_twice_are_passed_over(service):
    call_sid = await service.placed()
    for status in ("ringing", "in-progress", "ringing", "in-progress", "completed", "in-progress", "completed"):
        await service.told("/call-status", call_sid, CallStatus=status)
    assert names(await service.news(call_sid)) == ["queued", "ringing", "answered", "ended"]


async def test_where_twilios_callbacks_do_not_come_twilio_is_asked(service, twilio, monkeypatch):
    monkeypatch.setattr("callgate.outbound.calls.ASK_TWILIO_AFTER", 0.01)
    call_sid = await service.placed()
    twilio.live[call_sid] = "ringing"
    assert names(await service.news(call_sid, after=1, wait=15)) == ["ringing"]


async def test_a_call_is_ended_when_that_is_asked_for_and_no_other_is(service, twilio):
    call_sid = await service.placed()
    twilio.live["CA" + "2" * 32] = "in-progress"
    assert (await service.ask("DELETE", f"/calls/{call_sid}"))[0] == 200
    assert (await service.ask("DELETE", "/calls/CA" + "2" * 32))[0] == 404
    assert (await service.ask("GET", "/calls/CA" + "2" * 32))[0] == 404
    assert twilio.live == {call_sid: "canceled", "CA" + "2" * 32: "in-progress"}


@pytest.mark.parametrize("code", [(400, 21220), (404, 20404)])
async def test_a_call_that_is_over_by_then_is_ended(service, twilio, code):
    call_sid = await service.placed()
    twilio.refuse = (*code, "Call is not in-progress.")
    assert (await service.ask("DELETE", f"/calls/{call_sid}"))[0] == 200
    twilio.refuse = (400, 20001, "Bad request.")
    assert (await service.ask("DELETE", f"/calls/{call_sid}"))[0] == 502


async def test_another_process_of_the_service_knows_the_call_too(outbound_with, twilio):
    async with outbound_with(STORE="on", PORT="1") as one, outbound_with(STORE="on", PORT="2") as other:
        call_sid = await one.placed()
        assert (await other.news(call_sid))["over"] is False
        assert (await other.ask("DELETE", f"/calls/{call_sid}"))[0] == 200
    assert twilio.live[call_sid] == "canceled"


# The same request twice.


async def test_the_same_key_is_the_same_call_also_after_a_restart(outbound_with, twilio):
    async with outbound_with(STORE="on") as service:
        first = await service.call(key="one")
        again = await service.call(key="one")
    async with outbound_with(STORE="on") as service:
        later = await service.call(key="one")
        another = await service.call(key="two")
    assert [status for status, _, _ in (first, again, later, another)] == [201, 200, 200, 201]
    assert first[1]["call_sid"] == again[1]["call_sid"] == later[1]["call_sid"] != another[1]["call_sid"]
    assert len(twilio.calls) == 2


@pytest.mark.parametrize("store", ["on", "off"])
async def test_two_requests_with_one_key_at_once_are_one_call(outbound_with, twilio, store):
    async with outbound_with(STORE=store) as service:
        answers = await asyncio.gather(*(service.call(key="one") for _ in range(10)))
    assert {answer["call_sid"] for _, answer, _ in answers} == {twilio.placed[0].sid}
    assert len(twilio.calls) == 1


async def test_at_once_at_two_processes_they_are_one_call_too(outbound_with, twilio):
    async with outbound_with(STORE="on", PORT="1") as one, outbound_with(STORE="on", PORT="2") as other:
        answers = await asyncio.gather(*(service.call(key="one") for service in (one, other) for _ in range(5)))
    assert len(twilio.calls) == 1
    assert {status for status, _, _ in answers} <= {200, 201, 409}


async def test_a_key_is_for_one_request_alone(service, twilio):
    await service.placed(key="one")
    status, answer, _ = await service.call(key="one", limit=30)
    assert (status, "Idempotency-Key" in answer["error"]) == (422, True)
    assert len(twilio.calls) == 1


async def test_the_key_of_a_call_that_twilio_refused_may_be_used_again(service, twilio):
    twilio.refuse = (400, 21219, "Unverified.")
    assert (await service.call(key="one"))[0] == 502
    twilio.refuse = None
    assert (await service.call(key="one"))[0] == 201


@pytest.mark.parametrize("key", ["x" * 201, "a b"])
async def test_a_key_that_is_none_is_refused(service, twilio, key):
    assert (await service.call(key=key))[0] == 400
    assert twilio.requests == 0


# Twilio is down.


async def test_a_twilio_that_can_not_be_reached_is_said_to_be_that_and_the_key_may_be_used_again(service, twilio):
    address, twilio.http_client.address = twilio.http_client.address, "http://127.0.0.1:9"
    status, answer, _ = await service.call(key="one")
    assert (status, "can't be reached" in answer["error"]) == (502, True)
    twilio.http_client.address = address
    assert (await service.call(key="one"))[0] == 201


async def test_a_call_that_twilio_may_have_placed_is_not_placed_again_under_its_key(service, twilio, log):
    twilio.refuse = (503, 20503, "Service unavailable")
    assert (await service.call(key="one"))[0] == 502
    twilio.refuse = None
    status, answer, _ = await service.call(key="one")
    assert (status, "not known" in answer["error"]) == (409, True)
    assert twilio.calls == []
    assert (await service.call(key="two"))[0] == 201


async def test_a_call_that_was_asked_for_is_accounted_for_though_who_asked_is_gone(outbound_with, twilio, tmp_path):
    held = Held(twilio.http_client)
    twilio.http_client = held
    async with outbound_with(STORE="on") as service:
        asking = asyncio.create_task(service.call(key="one"))
        await until(held.asked.is_set)
        asking.cancel()
        await asyncio.wait({asking})
        held.go_on.set()
        await until(lambda: twilio.calls)
        _, answer, _ = await service.call(key="one")
    assert [answer["call_sid"]] == [call.sid for call in twilio.placed]


class Held(Redirected):
    """An HTTP client that sends nothing until told to go on."""

    def __init__(self, client: Redirected) -> None:
        super().__init__(client.address)
        self.asked, self.go_on = threading.Event(), threading.Event()

    def request(self, *args, **kwargs):
        self.asked.set()
        assert self.go_on.wait(20)
        return super().request(*args, **kwargs)


class HeldAnswer(Held):
    """An HTTP client that holds back the answer until told to go on."""

    def __init__(self, client: Redirected) -> None:
        super().__init__(client)
        self.done = threading.Event()

    def request(self, *args, **kwargs):
        answer = Redirected.request(self, *args, **kwargs)
        self.done.set()
        assert self.go_on.wait(20)
        return answer


async def test_a_twilio_that_takes_its_time_is_not_waited_for_longer_than_the_edge_does(
    outbound_with, twilio, monkeypatch
):
    monkeypatch.setattr("callgate.outbound.calls.ANSWER_DEADLINE", 0.05)
    held = HeldAnswer(twilio.http_client)
    twilio.http_client = held
    async with outbound_with() as service:
        status, answer, headers = await service.call(key="one")
        assert (status, "may be placed" in answer["error"], "Retry-After" in headers) == (504, True, True)
        held.go_on.set()
        monkeypatch.setattr("callgate.outbound.calls.ANSWER_DEADLINE", 20)
        _, answer, _ = await service.call(key="one")
    assert [answer["call_sid"]] == [call.sid for call in twilio.placed]


def test_every_answer_comes_before_the_edge_gives_up():
    conf = (ROOT / "deploy/nginx/snippets/proxy.conf").read_text()
    (limit,) = re.findall(r"^proxy_read_timeout\s+(\d+)s;$", conf, re.MULTILINE)
    longest = min(float(limit), 10.0)  # other proxies and tunnels may be as impatient
    assert operators_service.NEWS_WAIT <= outbound_module.LONGEST_WAIT
    assert longest > outbound_module.LONGEST_WAIT + outbound_module.RECEIPT_DEADLINE
    assert longest > outbound_module.ANSWER_DEADLINE
    assert outbound_module.ASK_TWILIO_AFTER < outbound_module.LONGEST_WAIT


async def test_what_the_operator_reads_says_which_call_and_no_number(service, log):
    call_sid = await service.placed()
    assert f"Outbound call {call_sid} to +*********21 is placed" in log.getvalue()
    assert ADMIN["Authorization"] not in log.getvalue()
    assert THEIRS not in log.getvalue()
