"""What a caller hears after the stream has ended: Twilio asks within milliseconds, while sessions may still be
closing."""

from __future__ import annotations

import asyncio
import functools
from pathlib import Path
from xml.etree import ElementTree

import pytest
from callgate.core.turns.commands import Outcome
from callgate.models.socket import ModelSocket
from callgate.peers.linecheck.realtime.response import ScriptedResponse, Speech
from callgate.store import JournalLimits, Store
from support.fake_openai import FakeOpenAI, Script, failed, say, tone, tool
from support.relayed import until
from support.service import BASE_URL, Service, Stream, config_for, running
from support.stores import PATIENT

GREETING = tone(0.4, 440)
BACK = tone(0.4, 660)
GOODBYE = tool("hang_up", first=Speech(GREETING, "Goodbye."))
ANOTHER_GOODBYE = tool("hang_up", first=Speech(BACK, "Goodbye."))

pytestmark = pytest.mark.usefixtures("log")


@pytest.fixture
def may_close(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Delay closing the model's sessions until the returned event is set, like a server that is slow to answer a
    close."""
    event, close = asyncio.Event(), ModelSocket.close

    async def when_it_may(model: ModelSocket) -> None:
        await event.wait()
        await close(model)

    monkeypatch.setattr(ModelSocket, "close", when_it_may)
    return event


async def interrupted(service: Service, call: Stream) -> ElementTree.Element:
    """Return Twilio's instructions after a stream has ended with the caller still there."""
    status, document = await service.webhook("/call-interrupted?resumed=0", CallSid=call.call_sid)
    assert status == 200
    return ElementTree.fromstring(document)


async def verbs(service: Service, call: Stream) -> list[str]:
    return [verb.tag for verb in await interrupted(service, call)]


def stream_of(call: Stream, document: ElementTree.Element) -> Stream:
    stream = document.find("./Connect/Stream")
    assert stream is not None
    path = stream.attrib["url"].removeprefix(BASE_URL.replace("https", "wss"))
    return Stream(call.call_sid, path, stream[0].attrib["value"])


async def known(service: Service, call: Stream, outcome: Outcome) -> None:
    """Wait until the store has this outcome for the call."""
    async with asyncio.timeout(10):
        while (await service.services.switchboard.ledger.memory(call.call_sid)).outcome is not outcome:  # noqa: ASYNC110
            await asyncio.sleep(0)


def one_after_the_other(fake: FakeOpenAI, *answers: ScriptedResponse) -> Script:
    """Script these answers, each as the first of one session."""
    return Script(after=lambda turn: answers[len(fake.connections) - 1])


@pytest.mark.parametrize(
    ("answer", "code", "then"),
    [(GOODBYE, 1000, ["Hangup"]), (failed("insufficient_quota"), 1011, ["Say", "Hangup"])],
    ids=["goodbye", "failure"],
)
async def test_a_call_that_is_over_is_over_while_its_model_is_still_being_closed(
    service, fake, may_close, answer, code, then
):
    fake.script = Script((answer,))
    call = await service.call()
    async with service.stream(call) as line:
        assert await line.closed() == code
    assert fake.open_connections == 1
    assert await verbs(service, call) == then
    may_close.set()
    await until(lambda: service.services.switchboard.registry.live == 0)
    assert await verbs(service, call) == then


async def test_a_call_that_was_cut_off_goes_on_while_its_old_model_is_still_being_closed(service, fake, log, may_close):
    fake.script = one_after_the_other(fake, say(GREETING), say(BACK))
    registry = service.services.switchboard.registry
    call = await service.call()
    async with service.stream(call) as line:
        await line.hear(GREETING)
        line.socket.transport.abort()
    await until(lambda: registry.outcome(call.call_sid) is Outcome.STREAM_LOST)
    async with service.stream(stream_of(call, await interrupted(service, call))) as line:
        await line.hear(BACK)
        assert registry.outcome(call.call_sid) is None
        may_close.set()
        await until(lambda: "Stream ended: the media stream was lost" in log.getvalue())
        assert registry.live == 1  # the old stream's end must not end the new one
        assert registry.outcome(call.call_sid) is None
        await line.hang_up()
        assert await line.closed() == 1000
    await until(lambda: registry.live == 0)
    assert registry.outcome(call.call_sid) is Outcome.CALLER_HUNG_UP


async def test_another_process_knows_at_once_that_the_agent_said_goodbye(
    fake, tmp_path: Path, may_close, monkeypatch: pytest.MonkeyPatch
):
    fake.script = Script((GOODBYE,))
    # Pending writes happen only if somebody is in a hurry.
    monkeypatch.setattr(
        "callgate.web.app.Store", functools.partial(Store, times=PATIENT, limits=JournalLimits(pause=600.0))
    )
    async with (
        running(config_for(fake.url, tmp_path, STORE="on", PORT="1")) as first,
        running(config_for(fake.url, tmp_path, STORE="on", PORT="2")) as second,
    ):
        call = await first.call()
        async with first.stream(call) as line:
            assert await line.closed() == 1000
        await known(second, call, Outcome.GOODBYE)
        assert await verbs(second, call) == ["Hangup"]
        may_close.set()
    assert fake.upgrades == 1


async def test_a_goodbye_that_another_process_said_since_counts_for_the_one_that_lost_the_stream(fake, tmp_path: Path):
    fake.script = one_after_the_other(fake, say(GREETING), ANOTHER_GOODBYE)
    async with (
        running(config_for(fake.url, tmp_path, STORE="on", PORT="1")) as first,
        running(config_for(fake.url, tmp_path, STORE="on", PORT="2")) as second,
    ):
        call = await first.call()
        async with first.stream(call) as line:
            await line.hear(GREETING)
            line.socket.transport.abort()
        await known(second, call, Outcome.STREAM_LOST)
        async with second.stream(stream_of(call, await interrupted(second, call))) as line:
            await line.hear(BACK)
            assert await line.closed() == 1000
        await known(first, call, Outcome.GOODBYE)
        assert await verbs(first, call) == ["Hangup"]
    assert fake.upgrades == 2
