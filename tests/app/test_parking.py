"""The model's session opened at the webhook: which call gets it, and what happens if none does."""

from __future__ import annotations

import pytest
from support.fake_openai import FakeOpenAI, Faults, Script, say, tone
from support.relayed import until
from support.service import config_for, running

GREETING = tone(0.4, 440)


async def test_a_stream_finds_its_model_session_ready(service, fake):
    fake.script = Script((say(GREETING),))
    call = await service.call()
    await fake.received("session.update")  # before there is a stream
    async with service.stream(call) as line:
        await line.hear(GREETING)
    assert fake.upgrades == 1


async def test_every_call_finds_its_own(service, fake):
    fake.script = Script((say(GREETING),))
    first, second = await service.call(), await service.call()
    async with service.stream(second) as line:
        await line.hear(GREETING)
    assert service.services.switchboard.parking.waiting == 1
    async with service.stream(first) as line:
        await line.hear(GREETING)
    assert fake.upgrades == 2


async def test_a_retried_webhook_opens_no_second_session(service, fake):
    fake.script = Script((say(GREETING),))
    call = await service.call()
    await service.webhook("/incoming-call", CallSid=call.call_sid)
    async with service.stream(call) as line:
        await line.hear(GREETING)
    assert fake.upgrades == 1


async def test_the_session_of_a_call_that_does_not_come_is_closed(service, fake, log, monkeypatch):
    monkeypatch.setattr("callgate.models.parking.LIFETIME", 0.2)
    await service.call()
    await until(lambda: "the call did not come" in log.getvalue())
    await fake.all_closed()
    assert service.services.switchboard.parking.waiting == 0


async def test_the_session_of_a_call_that_ends_before_its_stream_is_closed(service, fake):
    call = await service.call()
    await fake.received("session.update")
    await service.webhook("/call-status", CallSid=call.call_sid, CallStatus="completed")
    await fake.all_closed()
    assert fake.connections[0].close_code == 1000


async def test_a_call_whose_session_was_lost_while_it_waited_opens_another(service, fake, log):
    fake.script = Script((say(GREETING),))
    call = await service.call()
    await fake.until(lambda: bool(fake.connections) and bool(fake.connections[0].received))
    await fake.close_all(1001, "away")
    await fake.all_closed()
    async with service.stream(call) as line:
        await line.hear(GREETING)
    assert fake.upgrades == 2
    assert "was lost: " in log.getvalue() or "could be opened ahead" in log.getvalue()


async def test_a_call_whose_session_could_not_be_opened_ahead_tries_again(service, fake, log):
    fake.faults = (Faults(refuse=503),)
    fake.script = Script((say(GREETING),))
    async with service.stream() as line:
        await line.hear(GREETING)
    assert "No model session could be opened ahead of the call" in log.getvalue()


@pytest.mark.parametrize("faults", [Faults(), Faults(hang_upgrade=True)])
async def test_a_service_that_stops_leaves_no_session_behind(fake, tmp_path, faults):
    fake.faults = faults
    async with running(config_for(fake.url, tmp_path)) as service:
        await service.call()
        await fake.until(lambda: fake.upgrades == 1)
    await fake.all_closed()


async def test_no_more_sessions_wait_than_there_are_lines(fake: FakeOpenAI, tmp_path):
    async with running(config_for(fake.url, tmp_path, MAX_CALLS="2")) as service:
        await service.call()
        await service.call()
        _, document = await service.webhook("/incoming-call")
        assert "busy" in document
        assert service.services.switchboard.parking.waiting == 2
