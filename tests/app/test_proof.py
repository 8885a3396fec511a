"""Nothing of a request's body is read until the request has shown the proof that its route requires."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
from callgate.web.proof import LONGEST_TARGET, MOST_FIELDS, Proof
from quart import Quart
from support.outbound_service import ADMIN
from support.service import ACCOUNT, BASE_URL, Service, config_for, new_sid, running, sign

MANY_KEYS = "&".join(["a=1"] + [f"b{number}=2" for number in range(14_000)])[: 64 * 1024]
A_SIGNATURE = "A" * 27 + "="  # of nothing
WRONG = {
    "nothing": {},
    "no signature": {"X-Twilio-Signature": "x"},
    "another's signature": {"X-Twilio-Signature": A_SIGNATURE},
    "no token": {"Authorization": "Basic YTpi"},
    "another's token": {"Authorization": "Bearer x"},
}


@pytest.fixture
async def service(fake, tmp_path, log):
    async with running(config_for(fake.url, tmp_path, ADMIN_TOKEN="the-admin-token")) as service:
        yield service


def guarded(app: Quart) -> list[tuple[str, str]]:
    """Return method and path of each route that requires a proof."""
    found = []
    for rule in app.url_map.iter_rules():
        if rule.websocket:
            continue
        proof = app.view_functions[rule.endpoint].proof
        path = re.sub("<.*?>", new_sid("CA"), rule.rule)
        found += [(method, path) for method in rule.methods or () if proof is not Proof.NONE and method != "OPTIONS"]
    return found


def status_of(answer: bytes) -> int:
    return int(answer.split(maxsplit=2)[1])


async def ask_without_body(service: Service, method: str, path: str, headers: dict[str, str]) -> int:
    """Return the status of the answer to a request whose body has not arrived yet."""
    host, _, port = service.address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    fields = {"Host": "x", "Content-Type": "application/x-www-form-urlencoded", "Content-Length": "64000", **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode())
    try:
        return status_of(await reader.readuntil(b"\r\n"))
    finally:
        writer.close()


async def test_each_route_says_what_it_asks_for(service):
    assert service.app is not None
    views = {rule.endpoint: rule for rule in service.app.url_map.iter_rules() if not rule.websocket}
    assert {name for name in views if not hasattr(service.app.view_functions[name], "proof")} == set()
    free = {views[name].rule for name in views if service.app.view_functions[name].proof is Proof.NONE}
    assert free == {"/", "/healthz", "/readyz"}


async def test_who_shows_nothing_is_refused_before_any_body_has_come(service, log):
    for method, path in guarded(service.app):
        for what, headers in WRONG.items():
            if what == "another's signature" and "calls" not in path:
                continue  # its body is needed to compute the signature
            status = await ask_without_body(service, method, path, headers)
            assert status in (401, 403), (method, path, what)
    assert "Traceback" not in log.getvalue()


@pytest.mark.parametrize(
    "body",
    [MANY_KEYS.encode(), b"[" * 60_000, b'{"to":"\xff"}', b"%" * 60_000, b"\x00" * 1000],
    ids=lambda body: str(body[:6]),
)
@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "application/json", "multipart/form-data", "x"])
@pytest.mark.whole
async def test_no_body_brings_a_route_to_fail(service, log, body, kind):
    """Tried with each wrong proof, and with the right token, where only the body is wrong."""
    for method, path in guarded(service.app):
        for headers in (*WRONG.values(), ADMIN):
            status, _ = await service.ask(method, path, data=body, headers={**headers, "Content-Type": kind})
            assert 400 <= status < 500, (method, path, status)
    assert "Traceback" not in log.getvalue()


@pytest.mark.parametrize("body", ["[" * 60_000, '{"to": ', "[]", "7", '"to"', b"\xff", "9" * 5000, ""])
async def test_a_call_that_is_asked_for_in_bad_json_is_a_bad_request(service, body):
    headers = {**ADMIN, "Content-Type": "application/json"}
    status, answer = await service.ask("POST", "/calls", data=body, headers=headers)
    assert (status, "JSON" in json.loads(answer)["error"]) == (400, True)


async def test_a_form_has_at_most_as_many_fields_as_twilio_could_send(service):
    form = {"AccountSid": ACCOUNT, "CallSid": new_sid("CA"), "From": "+15551230001"}
    most = {**form, **{f"SipHeader_X-{number}": "x" for number in range(MOST_FIELDS - len(form))}}
    for fields, status in ((most, 200), ({**most, "one": "more"}, 413)):
        headers = {"X-Twilio-Signature": sign(f"{BASE_URL}/incoming-call", fields)}
        assert (await service.ask("POST", "/incoming-call", data=fields, headers=headers))[0] == status


async def test_an_address_is_no_longer_than_twilio_could_ask_for(service, log):
    for query in ("&".join("a" for _ in range(MOST_FIELDS + 1)), "a=" + "x" * LONGEST_TARGET):
        target = f"/incoming-call?{query}"
        status, _ = await service.ask("GET", target, headers={"X-Twilio-Signature": sign(BASE_URL + target)})
        assert status == 414
        assert (await service.ask("GET", target))[0] == 403
    assert "Traceback" not in log.getvalue()


async def test_a_body_larger_than_any_webhooks_is_refused(service):
    status, _ = await service.ask(
        "POST", "/incoming-call", data={"x": "y" * 100_000}, headers={"X-Twilio-Signature": A_SIGNATURE}
    )
    assert status == 413


async def test_an_event_counts_once_however_often_it_is_told(service, log):
    form = {"CallSid": new_sid("CA"), "StreamEvent": "stream-error", "StreamError": "31921"}
    for _ in range(3):
        assert await service.webhook("/stream-status", **form) == (204, "")
    assert log.getvalue().count("Twilio reports an error of the stream") == 1
    assert await service.webhook("/stream-status", **form, Timestamp="another") == (204, "")
    assert log.getvalue().count("Twilio reports an error of the stream") == 2
