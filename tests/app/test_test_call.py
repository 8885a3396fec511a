"""The test call: only its operator can place it, and only to the operator's own numbers."""

from __future__ import annotations

import json

import pytest
from support.service import ACCOUNT, AUTH_TOKEN, PROOF, config_for, running
from support.twilio_rest import FakeTwilioRest

ADMIN = {"Authorization": "Bearer the-admin-token"}
SETTINGS = {
    "ADMIN_TOKEN": "the-admin-token",
    "TEST_CALL_TO": "+15551230001,+15551230002",
    "TWILIO_PHONE_NUMBER": "+15551230009",
}


@pytest.fixture
async def twilio():
    async with FakeTwilioRest(ACCOUNT, AUTH_TOKEN, "+15551230009").serving() as twilio:
        yield twilio


@pytest.fixture
def ask(fake, twilio, tmp_path, log):
    """Request the test call from a service with these settings, and return status and answer."""

    async def ask(path="/test-call-realtime", *, method="GET", headers=ADMIN, without=(), **settings):
        values = {**SETTINGS, **settings, **dict.fromkeys(without, "")}
        config = config_for(fake.url, tmp_path, **values)
        async with running(config, http_client=twilio.http_client) as service:
            status, body = await service.ask(method, path, headers=headers)
        return status, json.loads(body)

    return ask


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_it_rings_the_first_listed_number_with_this_services_webhooks(ask, twilio, log, method):
    status, answer = await ask(method=method)
    assert (status, answer["ok"], answer["to"]) == (200, True, "+*********01")
    (call,) = twilio.calls
    assert call["To"] == ["+15551230001"]
    assert call["From"] == ["+15551230009"]
    assert call["Url"] == [f"https://voice.example.com/incoming-call?proof={PROOF}"]
    assert call["StatusCallback"] == ["https://voice.example.com/call-status"]
    assert call["StatusCallbackEvent"] == ["initiated", "ringing", "answered", "completed"]
    assert "+15551230001" not in log.getvalue()


async def test_it_rings_another_listed_number_when_asked_to(ask, twilio):
    assert (await ask("/test-call-realtime?to=%2B15551230002"))[0] == 200
    assert twilio.calls[0]["To"] == ["+15551230002"]


async def test_it_rings_no_number_that_is_not_listed(ask, twilio):
    status, answer = await ask("/test-call-realtime?to=%2B19005551234")
    assert (status, "TEST_CALL_TO" in answer["error"]) == (403, True)
    assert twilio.requests == 0


@pytest.mark.parametrize("headers", [{}, {"Authorization": "the-admin-token"}, {"Authorization": "Bearer é"}])
async def test_it_is_placed_for_nobody_without_the_admin_token(ask, twilio, headers):
    status, answer = await ask(headers=headers)
    assert (status, "ADMIN_TOKEN" in answer["fix"]) == (401, True)
    assert twilio.requests == 0


@pytest.mark.parametrize("name", ["ADMIN_TOKEN", "TEST_CALL_TO", "TWILIO_PHONE_NUMBER", "TWILIO_ACCOUNT_SID",
                                  "TWILIO_AUTH_TOKEN"])  # fmt: skip
async def test_what_is_not_set_is_named(ask, twilio, name):
    status, answer = await ask(without=[name])
    assert status in (403, 503)
    assert answer["error"].startswith(name)
    assert ".env" in answer["fix"]
    assert twilio.requests == 0


async def test_a_wrong_account_is_said_to_be_that(ask):
    status, answer = await ask(TWILIO_AUTH_TOKEN="not-the-auth-token")
    assert status == 502
    assert "20003" in answer["error"]
    assert "TWILIO_AUTH_TOKEN" in answer["fix"]


async def test_a_refusal_of_twilios_is_translated(ask, twilio):
    twilio.refuse = (400, 21219, "Unverified.")
    status, answer = await ask()
    assert (status, "21219" in answer["error"], "verify" in answer["fix"]) == (502, True, True)


async def test_an_api_that_can_not_be_reached_is_said_to_be_that(ask, twilio):
    twilio.http_client.address = "http://127.0.0.1:9"
    status, answer = await ask()
    assert (status, "can't be reached" in answer["error"]) == (502, True)
