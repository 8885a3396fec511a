"""No words of a call, no complete number and no secret reaches the log, or the record of how a call went."""

from __future__ import annotations

import json

import pytest
from support.fake_openai import At, Close, FakeOpenAI, Faults, Script, Send, error_event, failed
from support.logged_call import QUOTES, call_of, check_call, full_call, logged, place, private_in
from support.relayed import until
from support.service import config_for, new_sid, running

pytestmark = [pytest.mark.whole, pytest.mark.usefixtures("no_backoff")]


@pytest.mark.parametrize("log_format", ["text", "json"])
async def test_of_a_call_with_all_that_can_happen_in_it_no_word_is_logged(tmp_path, monkeypatch, log_format):
    async with place(tmp_path, monkeypatch, LOG_FORMAT=log_format) as (service, fake, config):
        with logged(config) as log:
            found = await full_call(service, fake, new_sid("CA"))
    check_call(found, log.getvalue())
    for line in log.getvalue().splitlines():
        assert json.loads(line)["message"] if log_format == "json" else " - " in line


async def test_what_ends_a_call_is_told_by_its_code_in_the_log_the_receipt_and_readyz(tmp_path, monkeypatch):
    async with place(tmp_path, monkeypatch) as (service, fake, config):
        fake.script = Script(after=lambda turn: failed("insufficient_quota", QUOTES))
        with logged(config) as log:
            call = await call_of(service, new_sid("CA"))
            async with service.stream(call) as line:
                assert await line.closed() == 1011
            await until(lambda: "Receipt" in log.getvalue())
        assert await service.services.store.journal.flush(10)
        found = await service.services.store.call(call.call_sid)
        _, ready = await service.ask("GET", "/readyz")
    for text in (log.getvalue(), found.call.reason, found.call.receipt["reason"]):
        assert "insufficient_quota" in text
        assert private_in(text) == []
    assert private_in(ready) == []


@pytest.mark.parametrize("how", ["refused", "error", "closed"])
async def test_of_a_session_that_knows_nothing_yet_an_operator_reads_why_it_is_not_opened(tmp_path, how):
    message = "The model `gpt-realtime-9` is not for 'whoever asks', ring +1 555 765 4301.\r\nINFO - forged"
    fault = {
        "refused": Faults(refuse=404, refuse_code=message),
        "error": Faults(at=(At("session.created", Send(error_event("model_not_found", message))),)),
        "closed": Faults(at=(At("session.updated", Close(4000, message)),)),
    }[how]
    async with FakeOpenAI(faults=fault, api_key="sk-test") as fake:
        config = config_for(fake.url, tmp_path)
        async with running(config) as service:
            with logged(config) as log:
                await service.call()
                await until(lambda: "opened ahead of the call" in log.getvalue())
    assert "The model `gpt-realtime-9` is not for '…', ring +*********01. …" in log.getvalue()
    assert "forged" not in log.getvalue()
