"""What the set-up checks about an answer before it accepts it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from callgate.operator.ask import Answer, UnreachableError
from callgate.operator.setup.checks import check_domain, check_openai, check_service
from callgate.operator.setup.outside import Outside
from callgate.operator.setup.refusal import SetupRefused
from callgate.operator.setup.settings import check_form

DOMAIN = "voice.callgate.test"
PUBLIC, OTHER, IPV6 = "1.1.1.1", "8.8.8.8", "2606:4700::1111"


def outside(
    *found: str,
    here: tuple[str, ...] = (),
    leads_here: bool | None = None,
    answer: Answer | str = "",
    asked: list | None = None,
) -> Outside:
    def addresses(name: str) -> list[str]:
        if not found:
            raise UnreachableError("Name or service not known")
        return list(found)

    def fetch(method, url, headers):
        (asked if asked is not None else []).append((method, url, dict(headers)))
        if isinstance(answer, str):
            raise UnreachableError(answer)
        return answer

    return Outside(
        fetch=fetch, addresses=addresses, is_here=lambda address: address in here, leads_here=lambda name: leads_here
    )


def test_a_name_of_this_machine_is_good():
    says = check_domain(DOMAIN, outside(PUBLIC, IPV6, here=(PUBLIC, IPV6)), own_authority=False)
    assert "this machine" in says


def test_behind_address_translation_nothing_can_be_told_and_that_is_said():
    assert "address translation" in check_domain(DOMAIN, outside(PUBLIC), own_authority=False)


def test_behind_address_translation_the_name_is_tried():
    assert "leads to this machine" in check_domain(DOMAIN, outside(PUBLIC, leads_here=True), own_authority=False)
    with pytest.raises(SetupRefused, match="another machine answers"):
        check_domain(DOMAIN, outside(PUBLIC, leads_here=False), own_authority=False)


def test_an_aaaa_record_that_leads_elsewhere_is_named():
    assert IPV6 in check_domain(DOMAIN, outside(PUBLIC, IPV6, here=(PUBLIC,)), own_authority=False)


@pytest.mark.parametrize("address", ["10.0.0.5", "127.0.0.1", "fe80::1%eth0", "100.64.0.1", "::1"])
def test_an_address_that_the_authority_can_not_reach_is_refused(address):
    with pytest.raises(SetupRefused, match="not a public address"):
        check_domain(DOMAIN, outside(address, here=(address,)), own_authority=False)
    check_domain(DOMAIN, outside(address, here=(address,)), own_authority=True)


def test_a_name_that_does_not_resolve_is_refused_with_what_to_do():
    with pytest.raises(SetupRefused) as refused:
        check_domain(DOMAIN, outside(), own_authority=False)
    assert "does not resolve" in refused.value.found
    assert "A record" in refused.value.do


@pytest.mark.parametrize("domain", ["voice.example.com", "example.org", "localhost", "a.invalid"])
def test_a_name_that_is_nobodys_own_is_refused(domain):
    with pytest.raises(SetupRefused, match="nobody can own"):
        check_domain(domain, outside(PUBLIC, here=(PUBLIC,)), own_authority=False)


def test_the_key_goes_to_openai_alone_and_is_good():
    asked: list = []
    body = json.dumps({"id": "gpt-realtime", "shutdown_date": "2027-01-20"}).encode()
    says = check_openai("sk-1", "gpt-realtime", outside(answer=Answer(200, body), asked=asked))
    assert asked == [("GET", "https://api.openai.com/v1/models/gpt-realtime", {"Authorization": "Bearer sk-1"})]
    assert "2027-01-20" in says


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Answer(401, b""), "does not accept this key"),
        (Answer(403, b""), "may not use"),
        (Answer(404, b"{}"), "may not use"),
        (Answer(429, b""), "answered 429"),
        (Answer(302, b""), "answered 302"),
        ("no answer within 20 s", "can't be reached"),
    ],
)
def test_a_key_that_does_not_work_is_refused_and_not_shown(answer, says):
    with pytest.raises(SetupRefused, match=says) as refused:
        check_openai("sk-very-secret", "gpt-realtime-2.1", outside(answer=answer))
    assert "very-secret" not in refused.value.report()


@pytest.mark.parametrize("answer", [Answer(404, b""), Answer(301, b""), "its certificate is not trusted"])
def test_a_service_that_twilio_could_not_use_is_refused(answer):
    with pytest.raises(SetupRefused, match=r"cert start"):
        check_service(f"https://{DOMAIN}", outside(answer=answer))


def test_a_service_that_nginx_has_not_found_yet_is_waited_for():
    answers = [Answer(502, b""), Answer(503, b""), Answer(200, b"ok")]
    pauses: list[float] = []
    world = outside()
    world = replace(world, fetch=lambda method, url, headers: answers.pop(0), sleep=pauses.append)
    assert "answers" in check_service(f"https://{DOMAIN}", world)
    assert (answers, len(pauses)) == ([], 2)


def test_a_service_whose_backend_is_gone_is_refused_in_the_end():
    pauses: list[float] = []
    world = replace(outside(answer=Answer(502, b"")), sleep=pauses.append)
    with pytest.raises(SetupRefused, match="status 502"):
        check_service(f"https://{DOMAIN}", world)
    assert 10 <= sum(pauses) <= 60


@pytest.mark.parametrize(
    ("name", "text"),
    [("DOMAIN", "https://voice.callgate.test"), ("ACME_EMAIL", "me"), ("TWILIO_ACCOUNT_SID", "AC1"),
     ("TWILIO_PHONE_NUMBER", "0555"), ("TEST_CALL_TO", "+1555x"), ("BASE_URL", "http://a.test")],
)  # fmt: skip
def test_what_can_not_be_a_setting_is_refused_under_its_name(name, text):
    with pytest.raises(SetupRefused, match=f"^{name}: "):
        check_form(name, text)
