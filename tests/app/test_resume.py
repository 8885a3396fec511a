"""A call that was cut off and is resumed, by the process that had it or by another."""

from __future__ import annotations

import asyncio
from xml.etree import ElementTree

from callgate.peers.linecheck.realtime.response import Speech
from support.fake_openai import FakeOpenAI, Script, say, tone, tool
from support.service import BASE_URL, Service, Stream, config_for, running

GREETING = tone(0.4, 440)
BACK = tone(0.4, 660)


def answers(fake: FakeOpenAI) -> Script:
    return Script(after=lambda turn: say(GREETING if len(fake.connections) == 1 else BACK, "Hello there."))


async def written_down(service: Service, call: Stream) -> None:
    """Wait until the agent's words are on record."""
    async with asyncio.timeout(10):
        while not (await service.services.switchboard.ledger.memory(call.call_sid)).turns:  # noqa: ASYNC110
            await asyncio.sleep(0)


async def interrupted(service: Service, call: Stream, query: str = "?resumed=0") -> ElementTree.Element:
    status, document = await service.webhook(f"/call-interrupted{query}", CallSid=call.call_sid)
    assert status == 200
    return ElementTree.fromstring(document)


def stream_of(call: Stream, document: ElementTree.Element) -> Stream:
    stream = document.find("./Connect/Stream")
    assert stream is not None
    path = stream.attrib["url"].removeprefix(BASE_URL.replace("https", "wss"))
    return Stream(call.call_sid, path, stream[0].attrib["value"])


async def test_the_agent_of_a_call_that_was_cut_off_knows_what_was_said_and_does_not_greet_again(fake, tmp_path):
    fake.script = answers(fake)
    async with running(config_for(fake.url, tmp_path, STORE="on")) as service:
        call = await service.call()
        async with service.stream(call) as line:
            await line.hear(GREETING)
            await written_down(service, call)
            line.socket.transport.abort()
        await fake.all_closed()
        again = stream_of(call, await interrupted(service, call))
        async with service.stream(again) as line:
            await line.hear(BACK)
    told = [event for event in fake.connections[1].received if event["type"] == "conversation.item.create"]
    assert [event["item"]["content"][0]["text"] for event in told] == ["Hello there."]
    (respond,) = [event for event in fake.connections[1].received if event["type"] == "response.create"]
    assert "cut off" in respond["response"]["instructions"]
    assert fake.upgrades == 2  # the second stream's session was opened ahead, too


async def test_another_process_takes_it_up_with_its_memory(fake, tmp_path):
    fake.script = answers(fake)
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1")) as first:
        call = await first.call()
        async with first.stream(call) as line:
            await line.hear(GREETING)
            await written_down(first, call)
            line.socket.transport.abort()
        await fake.all_closed()
        assert await first.services.store.journal.flush(10)
        async with running(config_for(fake.url, tmp_path, STORE="on", PORT="2")) as second:
            again = stream_of(call, await interrupted(second, call))
            async with second.stream(again) as line:
                await line.hear(BACK)
    texts = [event["item"]["content"][0]["text"] for event in fake.events("conversation.item.create")]
    assert texts == ["Hello there."]


async def test_another_process_knows_that_the_agent_had_said_goodbye(fake, tmp_path):
    fake.script = Script((tool("hang_up", first=Speech(GREETING, "Goodbye.")),))
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1")) as first:
        call = await first.call()
        async with first.stream(call) as line:
            await line.hear(GREETING)
            assert await line.closed() == 1000
        assert await first.services.store.journal.flush(10)
        async with running(config_for(fake.url, tmp_path, STORE="on", PORT="2")) as second:
            assert [verb.tag for verb in await interrupted(second, call)] == ["Hangup"]


async def test_a_call_of_which_nothing_was_kept_is_taken_up_without_memory(fake, tmp_path):
    fake.script = answers(fake)
    async with running(config_for(fake.url, tmp_path)) as service:
        call = await service.call()
        async with service.stream(call) as line:
            await line.hear(GREETING)
            line.socket.transport.abort()
        async with service.stream(stream_of(call, await interrupted(service, call))) as line:
            await line.hear(BACK)
    assert fake.events("conversation.item.create") == []
