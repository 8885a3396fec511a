"""Calls whose process died: a backend that starts fetches those back that Twilio still has on the line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from xml.etree import ElementTree

import pytest
from fake_openai import FakeOpenAI
from fake_twilio_rest import FakeTwilioRest
from fixtures import AUTH_TOKEN
from service import ACCOUNT, BASE_URL, config_for, new_sid, running


@pytest.fixture
async def rest():
    async with FakeTwilioRest(ACCOUNT, AUTH_TOKEN, "+15551230002").serving() as rest:
        yield rest


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callgate.reattach.COME_BACK_BY_THEMSELVES", 0.05)
    monkeypatch.setattr("callgate.reattach.LOOK_EVERY", 0.05)


async def until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def abandon(fake: FakeOpenAI, data_dir: Path, *call_sids: str) -> None:
    """Have these calls come in at a backend that is then gone, without a word of theirs."""
    async with running(config_for(fake.url, data_dir, STORE="on", PORT="1")) as service:
        for call_sid in call_sids:
            await service.webhook("/incoming-call", CallSid=call_sid)
        assert await service.services.store.journal.flush(10)


async def test_a_call_that_is_still_on_the_line_is_connected_anew(fake, rest, tmp_path, log):
    there, gone = new_sid("CA"), new_sid("CA")
    rest.live = {there: "in-progress", gone: "completed"}
    await abandon(fake, tmp_path, there, gone)
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1"), http_client=rest.http_client):
        await until(lambda: there in rest.updates and rest.requests >= 3)
    assert list(rest.updates) == [there]
    twiml = ElementTree.fromstring(rest.updates[there])
    assert twiml.find("./Connect/Stream") is not None
    assert twiml.findtext("./Redirect") == f"{BASE_URL}/call-interrupted?resumed=1"
    assert f"{there} was abandoned by a process that is gone: it is connected anew" in log.getvalue()


async def test_a_call_that_can_not_be_fetched_back_now_is_tried_again(fake, rest, tmp_path, log):
    call_sid = new_sid("CA")
    rest.live, rest.refuse = {call_sid: "in-progress"}, (429, 20429, "Too Many Requests")
    await abandon(fake, tmp_path, call_sid)
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1"), http_client=rest.http_client):
        await until(lambda: "can't be fetched back yet" in log.getvalue())
        rest.refuse = None
        await until(lambda: call_sid in rest.updates)


async def test_a_call_that_is_served_is_left_alone(fake, rest, tmp_path):
    call_sid = new_sid("CA")
    rest.live = {call_sid: "in-progress"}
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1"), http_client=rest.http_client) as service:
        await service.webhook("/incoming-call", CallSid=call_sid)
        assert await service.services.store.journal.flush(10)
        assert await service.services.store.abandoned() == []
    assert rest.requests == 0
