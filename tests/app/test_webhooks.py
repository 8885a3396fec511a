"""The answers to Twilio's requests, over a real port."""

from __future__ import annotations

import asyncio
import time
from xml.etree import ElementTree

import pytest
from callgate.switchboard.after_stream import MOST_RESUMES
from support.relayed import until
from support.service import ACCOUNT, BASE_URL, PROOF, config_for, new_sid, running, sign

WEBHOOKS = ["/incoming-call", "/call-interrupted", "/call-transferred", "/call-status", "/stream-status"]


async def test_an_incoming_call_is_connected_to_a_stream_of_its_own(service, log):
    first, second = await service.call(), await service.call()
    assert first.path == f"/media-stream/{PROOF}/{first.token}"
    assert first.token != second.token
    assert f"Creating Media Stream with URL: wss://voice.example.com/media-stream [{first.call_sid}]" in log.getvalue()
    assert first.token not in log.getvalue()


async def test_a_number_configured_for_get_is_answered_too(service):
    target = f"/incoming-call?AccountSid={ACCOUNT}&CallSid={new_sid('CA')}&From=%2B15551230001"
    headers = {"X-Twilio-Signature": sign(BASE_URL + target)}
    status, document = await service.ask("GET", target, headers=headers)
    assert status == 200
    assert ElementTree.fromstring(document).find("./Connect/Stream") is not None


@pytest.mark.parametrize("path", WEBHOOKS)
async def test_whoever_is_not_twilio_is_refused(service, log, path):
    form = {"AccountSid": ACCOUNT, "CallSid": new_sid("CA")}
    for signature in (
        None,
        "",
        "AAAA",
        sign(f"http://{service.address}{path}", form),
        sign(BASE_URL + path, form, "x"),
    ):
        headers = {} if signature is None else {"X-Twilio-Signature": signature}
        assert await service.ask("POST", path, data=form, headers=headers) == (403, "Forbidden\n")
    assert log.getvalue().count(f"POST {path} refused with 403") == 5


async def test_a_parameter_changed_on_the_way_is_refused(service):
    form = {"AccountSid": ACCOUNT, "CallSid": new_sid("CA")}
    headers = {"X-Twilio-Signature": sign(f"{BASE_URL}/incoming-call", form)}
    status, _ = await service.ask("POST", "/incoming-call", data={**form, "From": "+1"}, headers=headers)
    assert status == 403


async def test_another_accounts_call_is_refused(service):
    status, _ = await service.webhook("/incoming-call", AccountSid="AC" + "2" * 32)
    assert status == 403


@pytest.mark.parametrize("call_sid", ["", "CA1", "../../etc", "CA" + "g" * 32])
async def test_a_webhook_without_a_call_is_a_bad_request(service, call_sid):
    status, body = await service.webhook("/incoming-call", CallSid=call_sid)
    assert status == 400
    assert "CallSid" in body


async def test_status_callbacks_are_taken_and_logged(service, log):
    assert await service.webhook("/call-status", CallStatus="completed", CallDuration="7") == (204, "")
    assert await service.webhook("/stream-status", StreamEvent="stream-started") == (204, "")
    assert await service.webhook("/stream-status", StreamEvent="stream-error", StreamError="31921 closed") == (204, "")
    assert "Call status: completed, after 7 s" in log.getvalue()
    assert "31921 closed" in log.getvalue()


async def test_a_call_that_was_interrupted_is_taken_up_again_but_not_for_ever(service, log):
    """The process that held it may be gone, along with what was said."""
    path, tries = "/call-interrupted?resumed=1", 1
    while True:
        status, document = await service.webhook(path)
        assert status == 200
        verbs = ElementTree.fromstring(document)
        if verbs.find("./Connect/Stream") is None:
            break
        tries += 1
        path = verbs.findtext("./Redirect").removeprefix(BASE_URL)
    assert tries == MOST_RESUMES
    assert [verb.tag for verb in verbs] == ["Say", "Hangup"]
    assert f"it was interrupted {MOST_RESUMES + 1} times" in log.getvalue()


async def test_the_safety_net_rings_a_human_where_one_is_set(fake, tmp_path, log):
    async with running(config_for(fake.url, tmp_path, FALLBACK_DIAL="+15551239999")) as service:
        _, document = await service.webhook(f"/call-interrupted?resumed={MOST_RESUMES}")
    assert ElementTree.fromstring(document).findtext("./Dial/Number") == "+15551239999"


async def test_a_process_that_is_stopping_has_the_caller_wait_for_another(service):
    service.services.switchboard.registry.draining = True
    _, document = await service.webhook("/call-interrupted?resumed=1")
    verbs = ElementTree.fromstring(document)
    assert [verb.tag for verb in verbs] == ["Say", "Pause", "Redirect"]
    assert verbs.findtext("./Redirect") == f"{BASE_URL}/call-interrupted?resumed=1&proof={PROOF}"


def verbs_of(document: str) -> list[str]:
    return [verb.tag for verb in ElementTree.fromstring(document)]


CONNECTED, BUSY, PUT_THROUGH = ["Connect", "Redirect"], ["Say", "Hangup"], ["Say", "Dial"]


async def test_a_process_that_is_late_with_no_call_takes_calls_all_the_same(fake, tmp_path, log, monkeypatch):
    monkeypatch.setattr("callgate.switchboard.loop_pulse.LATE", 0.04)
    async with running(config_for(fake.url, tmp_path)) as service:
        pulse = service.services.switchboard.pulse
        while not pulse.is_late:  # as when the machine's disk, or another program, holds the loop up
            time.sleep(0.15)  # noqa: ASYNC251
            await asyncio.sleep(0)
        _, document = await service.webhook("/incoming-call")
        assert verbs_of(document) == CONNECTED


@pytest.mark.parametrize(("fallback", "answer"), [("", BUSY), ("+15551239999", PUT_THROUGH)])
async def test_a_process_that_is_late_with_many_calls_takes_no_further_one_and_says_so(
    fake, tmp_path, log, monkeypatch, fallback, answer
):
    monkeypatch.setattr("callgate.switchboard.loop_pulse.LATE", -1.0)  # so that every beat counts as late
    async with running(config_for(fake.url, tmp_path, MAX_CALLS="8", FALLBACK_DIAL=fallback)) as service:
        await until(lambda: service.services.switchboard.pulse.is_late)
        first, _ = await service.call(), await service.call()
        status, state = await service.ask("GET", "/readyz")
        assert (status, "overloaded" in state, "late by up to" in state) == (503, True, True)
        status, document = await service.webhook("/incoming-call")
        assert (status, verbs_of(document)) == (200, answer)
        _, document = await service.webhook("/incoming-call", CallSid=first.call_sid)  # it has its line already
        assert verbs_of(document) == CONNECTED
        await service.webhook("/call-status", CallSid=first.call_sid, CallStatus="completed")
        status, state = await service.ask("GET", "/readyz")
        assert (status, "with few calls" in state) == (200, True)
        await service.call()
    assert "This process is overloaded" in log.getvalue()


@pytest.mark.parametrize(("fallback", "answer"), [("", BUSY), ("+15551239999", PUT_THROUGH)])
async def test_one_call_more_than_there_are_lines_is_told_so_or_put_through(fake, tmp_path, log, fallback, answer):
    async with running(config_for(fake.url, tmp_path, MAX_CALLS="1", FALLBACK_DIAL=fallback)) as service:
        await service.call()
        status, document = await service.webhook("/incoming-call")
        assert (status, verbs_of(document)) == (200, answer)
        assert ElementTree.fromstring(document).findtext("./Dial/Number", "") == fallback
    assert "All 1 lines are busy (MAX_CALLS)" in log.getvalue()


async def test_a_process_that_is_stopping_has_new_callers_put_through(fake, tmp_path, log):
    async with running(config_for(fake.url, tmp_path, FALLBACK_DIAL="+15551239999")) as service:
        service.services.switchboard.registry.draining = True
        _, document = await service.webhook("/incoming-call")
    assert verbs_of(document) == PUT_THROUGH
    assert "This process is stopping: the caller is put through to FALLBACK_DIAL" in log.getvalue()


async def test_a_call_that_ended_before_its_stream_frees_its_line(fake, tmp_path, log):
    async with running(config_for(fake.url, tmp_path, MAX_CALLS="1")) as service:
        call = await service.call()
        await service.webhook("/call-status", CallSid=call.call_sid, CallStatus="completed")
        await service.call()


async def test_a_fault_of_ours_is_an_apology_to_the_caller_and_a_traceback_to_the_operator(service, log, monkeypatch):
    monkeypatch.setattr("callgate.core.wire.twiml.connect_stream", None)
    status, document = await service.webhook("/incoming-call")
    assert status == 200
    assert ElementTree.fromstring(document).find("./Say") is not None
    assert "Traceback" in log.getvalue()


async def test_health_is_the_process_and_readiness_is_the_service(service):
    assert await service.ask("GET", "/healthz") == (200, "ok\n")
    status, body = await service.ask("GET", "/readyz")
    assert (status, '"ready":true' in body) == (200, True)


async def test_the_page_says_what_this_is(service):
    status, body = await service.ask("GET", "/")
    assert status == 200
    assert "Ready to take calls" in body


async def test_a_service_without_an_auth_token_answers_rehearsals_only(fake, tmp_path, log):
    async with running(config_for(fake.url, tmp_path, TWILIO_AUTH_TOKEN="")) as service:
        assert (await service.webhook("/incoming-call"))[0] == 403
        made = (tmp_path / "rehearsal-auth-token").read_text().strip()
        form = {"AccountSid": ACCOUNT, "CallSid": new_sid("CA")}
        headers = {"X-Twilio-Signature": sign(f"{BASE_URL}/incoming-call", form, made)}
        assert (await service.ask("POST", "/incoming-call", data=form, headers=headers))[0] == 200


async def test_an_unknown_address_is_a_short_404(service):
    status, body = await service.ask("GET", "/wp-login.php")
    assert (status, "Traceback" in body) == (404, False)


@pytest.mark.parametrize(("given", "shown"), [("0a1b-2c", "[request 0a1b-2c]"), ("x\ty z", None)])
async def test_a_refusal_names_the_request_as_nginx_does(service, log, given, shown):
    await service.ask("POST", "/incoming-call", headers={"X-Request-ID": given})
    assert ("[request " in log.getvalue()) == (shown is not None)
    assert (shown or "") in log.getvalue()


async def test_readyz_warns_while_lines_of_the_log_are_dropped(service, monkeypatch):
    monkeypatch.setattr("callgate.web.services.dropped_lines", lambda: 3)
    status, body = await service.ask("GET", "/readyz")
    assert status == 200
    assert "3 lines of the log were dropped" in body
