"""Who gets a stream, and with it a model session that costs money."""

from __future__ import annotations

import asyncio
import time

import pytest
from callgate.core.gate.stream_token import LIFETIME, StreamTokens
from support.service import BASE_URL, WSS_URL, Service, new_sid, sign, start_frame
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = pytest.mark.usefixtures("both_paths")


async def status_of_upgrade(service: Service, path: str, signature: str | None = "right") -> int:
    with pytest.raises(InvalidStatus) as caught:
        async with service.upgrade(path, signature=signature):
            pass
    return caught.value.response.status_code


async def close_code(service: Service, path: str, *frames: str) -> int | None:
    """Return the code with which an accepted socket is closed, after these frames were sent on it."""
    async with service.upgrade(path) as socket:
        for frame in frames:
            await socket.send(frame)
        with pytest.raises(ConnectionClosed) as caught:
            await asyncio.wait_for(socket.recv(), 10)
    return caught.value.rcvd.code if caught.value.rcvd else None


@pytest.fixture(autouse=True)
def no_session_is_used(fake, service):
    """Check that the only session is the one that the signed webhook opened, and that the refused stream does not
    get it."""
    yield
    assert fake.upgrades <= service.services.switchboard.parking.waiting
    for connection in fake.connections:
        assert [event["type"] for event in connection.received] in ([], ["session.update"])


@pytest.mark.parametrize("path", ["own", "/media-stream"])
@pytest.mark.parametrize("signature", ["none", "empty", "garbage", "https", "other path", "other token"])
@pytest.mark.whole
async def test_an_upgrade_that_is_not_twilios_is_answered_403_before_it_is_accepted(service, log, path, signature):
    if path == "own":
        path = (await service.call()).path
    given = {
        "none": None,
        "empty": "",
        "garbage": "AAAA",
        "https": sign(BASE_URL + path),
        "other path": sign(f"{WSS_URL}/media-stream/other"),
        "other token": sign(WSS_URL + path, token="stranger"),
    }[signature]
    assert await status_of_upgrade(service, path, given) == 403
    assert "Media Stream refused with 403" in log.getvalue()
    assert "ACCEPTED" not in log.getvalue()


async def test_an_expired_token_is_answered_403(service):
    text = StreamTokens(["the-auth-token"]).issue(new_sid("CA"), time.time() - LIFETIME - 1)
    assert await status_of_upgrade(service, f"/media-stream/{text}") == 403


async def test_a_foreign_token_is_answered_403(service):
    text = StreamTokens(["another key"]).issue(new_sid("CA"), time.time())
    assert await status_of_upgrade(service, f"/media-stream/{text}") == 403


async def test_a_token_is_good_for_one_upgrade(service):
    call = await service.call()
    async with service.upgrade(call.path):
        pass
    assert await status_of_upgrade(service, call.path) == 403


async def test_a_token_of_another_call_is_refused_at_the_start(service, log):
    call = await service.call()
    assert await close_code(service, call.path, start_frame(new_sid("CA"), new_sid("MZ"))) == 1008
    assert "does not belong to call" in log.getvalue()


@pytest.mark.parametrize("token", ["missing", "garbage", "expired", "foreign", "another call's", "used"])
async def test_on_the_plain_path_the_token_is_checked_in_the_start(service, token):
    call = await service.call()
    issue = StreamTokens(["the-auth-token"]).issue
    if token == "used":
        async with service.upgrade(call.path):
            pass
    parameters = {
        "missing": {},
        "garbage": {"token": "x"},
        "expired": {"token": issue(call.call_sid, time.time() - LIFETIME - 1)},
        "foreign": {"token": StreamTokens(["another key"]).issue(call.call_sid, time.time())},
        "another call's": {"token": issue(new_sid("CA"), time.time())},
        "used": {"token": call.token},
    }[token]
    assert await close_code(service, "/media-stream", start_frame(call.call_sid, new_sid("MZ"), **parameters)) == 1008


async def test_a_stream_of_another_account_is_refused(service):
    call = await service.call()
    frame = start_frame(call.call_sid, new_sid("MZ"), account_sid="AC" + "2" * 32, token=call.token)
    assert await close_code(service, call.path, frame) == 1008


async def test_a_plain_http_request_to_the_stream_gets_no_stream(service):
    status, _ = await service.ask("GET", "/media-stream/x")
    assert status in (400, 404, 405)
