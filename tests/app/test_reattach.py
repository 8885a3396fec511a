"""Calls whose process died: a backend that starts takes back those that Twilio still has on the line."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from xml.etree import ElementTree

import pytest
from callgate.store.journal import Journal
from support.fake_openai import FakeOpenAI
from support.fixtures import AUTH_TOKEN
from support.relayed import until
from support.service import ACCOUNT, BASE_URL, PROOF, WSS_URL, Service, Stream, config_for, new_sid, running
from support.twilio_rest import FakeTwilioRest, Redirected
from twilio.http.response import Response

pytestmark = pytest.mark.whole


@pytest.fixture
async def rest():
    async with FakeTwilioRest(ACCOUNT, AUTH_TOKEN, "+15551230002").serving() as rest:
        yield rest


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("callgate.switchboard.reattach.COME_BACK_BY_THEMSELVES", 0.05)
    monkeypatch.setattr("callgate.switchboard.reattach.LOOK_EVERY", 0.05)


async def abandon(fake: FakeOpenAI, data_dir: Path, *call_sids: str, port: str = "1") -> None:
    """Let these calls come in at a backend that then disappears without reporting anything."""
    async with running(config_for(fake.url, data_dir, STORE="on", PORT=port)) as service:
        for call_sid in call_sids:
            await service.webhook("/incoming-call", CallSid=call_sid)
        assert await service.services.store.journal.flush(10)


@contextlib.asynccontextmanager
async def back_by_itself(service: Service, call_sid: str) -> AsyncIterator[None]:
    """Check that the call's TwiML continues at ``/call-interrupted``, and that the call becomes live at this
    backend."""
    _, document = await service.webhook("/call-interrupted?resumed=0", CallSid=call_sid)
    stream = ElementTree.fromstring(document).find("./Connect/Stream")
    assert stream is not None, document
    address = stream.attrib["url"].removeprefix(WSS_URL)
    async with service.stream(Stream(call_sid, address, stream[0].attrib["value"])):
        await until(lambda: service.services.switchboard.registry.live)
        assert await service.services.store.journal.flush(10)
        yield


async def test_a_call_that_is_still_on_the_line_is_connected_anew(fake, rest, tmp_path, log):
    there, gone = new_sid("CA"), new_sid("CA")
    rest.live = {there: "in-progress", gone: "completed"}
    await abandon(fake, tmp_path, there, gone)
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1"), http_client=rest.http_client):
        await until(lambda: "it is reconnected" in log.getvalue() and rest.requests >= 3)
    assert list(rest.updates) == [there]
    twiml = ElementTree.fromstring(rest.updates[there])
    assert twiml.find("./Connect/Stream") is not None
    assert twiml.findtext("./Redirect") == f"{BASE_URL}/call-interrupted?resumed=1&proof={PROOF}"
    assert f"{there} was abandoned by a process that is gone: it is reconnected" in log.getvalue()


async def test_a_call_of_our_own_that_still_rings_is_looked_at_again(fake, rest, tmp_path):
    call_sid = new_sid("CA")
    rest.live = {call_sid: "ringing"}
    await abandon(fake, tmp_path, call_sid)
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1"), http_client=rest.http_client):
        await until(lambda: rest.requests >= 2)
        rest.live[call_sid] = "in-progress"
        await until(lambda: call_sid in rest.updates)


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


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_a_call_that_could_not_be_fetched_back_and_came_back_by_itself_is_left_alone(
    fake, rest, tmp_path, log, where
):
    call_sid = new_sid("CA")
    rest.live, rest.refuse = {call_sid: "in-progress"}, (429, 20429, "Too Many Requests")
    await abandon(fake, tmp_path, call_sid)
    first, second = (config_for(fake.url, tmp_path, STORE="on", PORT=port) for port in ("1", "2"))
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(running(first, http_client=rest.http_client))
        await until(lambda: "can't be fetched back yet" in log.getvalue())
        if where == "elsewhere":
            service = await stack.enter_async_context(running(second, http_client=rest.http_client))
        async with back_by_itself(service, call_sid):
            rest.refuse = None
            await until(lambda: "came back by itself" in log.getvalue() or rest.updates)
            assert rest.updates == {}
            assert service.services.switchboard.registry.live == 1


class Held(Redirected):
    """An HTTP client that holds back the answer to its first request until told to go on."""

    def __init__(self, client: Redirected) -> None:
        super().__init__(client.address)
        self.answered, self.give = threading.Event(), threading.Event()

    def request(self, *args, **kwargs) -> Response:
        response = super().request(*args, **kwargs)
        self.answered.set()
        assert self.give.wait(20)
        return response


async def test_a_call_that_comes_back_by_itself_while_twilio_is_asked_is_left_alone(fake, rest, tmp_path, log):
    call_sid = new_sid("CA")
    rest.live, client = {call_sid: "in-progress"}, Held(rest.http_client)
    await abandon(fake, tmp_path, call_sid)
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1"), http_client=client) as service:
        await until(client.answered.is_set)
        async with back_by_itself(service, call_sid):
            client.give.set()
            await until(lambda: "came back by itself" in log.getvalue() or rest.updates)
            assert rest.updates == {}


async def test_a_call_that_twilio_has_nothing_of_is_asked_for_once_and_is_over(fake, rest, tmp_path, log):
    unknown, there = new_sid("CA"), new_sid("CA")
    rest.live = {there: "in-progress"}
    await abandon(fake, tmp_path, unknown)
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1"), http_client=rest.http_client) as service:
        await until(lambda: rest.requests)
        await abandon(fake, tmp_path, there, port="2")
        await until(lambda: there in rest.updates)  # in a later round
        assert rest.requests == 3
        assert await service.services.store.journal.flush(10)
        assert (await service.services.store.call(unknown)).call.outcome == "unknown"
    assert not [line for line in log.getvalue().splitlines() if unknown in line and "WARNING" in line]


async def test_an_answer_that_is_not_twilios_does_not_end_the_search(fake, rest, tmp_path, log):
    class Portal(Redirected):
        said = False

        def request(self, *args, **kwargs) -> Response:
            if not self.said:
                self.said = True
                return Response(200, "<html>Please log in</html>")
            return super().request(*args, **kwargs)

    call_sid = new_sid("CA")
    rest.live = {call_sid: "in-progress"}
    await abandon(fake, tmp_path, call_sid)
    client = Portal(rest.http_client.address)
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1"), http_client=client):
        await until(lambda: call_sid in rest.updates)
    assert "can't be fetched back yet" in log.getvalue()


async def test_the_record_is_written_to_by_the_event_loop_alone(fake, rest, tmp_path, monkeypatch):
    call_sid, threads = new_sid("CA"), []

    def call_resumed(journal: Journal, call_sid: str, at: datetime) -> None:
        threads.append(threading.current_thread())
        written(journal, call_sid, at)

    written = Journal.call_resumed
    monkeypatch.setattr(Journal, "call_resumed", call_resumed)
    rest.live = {call_sid: "in-progress"}
    await abandon(fake, tmp_path, call_sid)
    async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1"), http_client=rest.http_client) as service:
        await until(lambda: call_sid in rest.updates)
        assert await service.services.store.journal.flush(10)
        assert (await service.services.store.call(call_sid)).call.resumes == 1
    assert threads == [threading.current_thread()]


async def test_a_rest_api_that_never_answers_is_given_up_and_asked_again(fake, tmp_path, log, monkeypatch):
    asked: list[asyncio.BaseTransport] = []

    class Silent(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            asked.append(transport)

    await abandon(fake, tmp_path, new_sid("CA"))
    async with await asyncio.get_running_loop().create_server(Silent, "127.0.0.1", 0) as silent:
        host, port = silent.sockets[0].getsockname()
        for name in ("https_proxy", "HTTPS_PROXY"):  # which Twilio's own client respects
            monkeypatch.setenv(name, f"http://{host}:{port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("callgate.web.services.REST_DEADLINE", 0.2)
        try:
            async with running(config_for(fake.url, tmp_path, STORE="on", PORT="1")):
                await until(lambda: len(asked) >= 2)
        finally:
            for transport in asked:
                transport.close()
    assert "can't be fetched back yet" in log.getvalue()
