"""The doctor's parts: the order of checks, what they hide, and how the result is shown."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from callgate.__main__ import main
from callgate.config.settings import Config
from callgate.logs.setup import Masking
from callgate.operator.ask import UnreachableError
from callgate.operator.doctor.checks import CALL, CHECKS, REAL_CALL
from callgate.operator.doctor.cli import world_of
from callgate.operator.doctor.finding import Finding, Result, Status, ok, skipped, warning, worst, wrong
from callgate.operator.doctor.handshake import certificates_in
from callgate.operator.doctor.places import environment, names
from callgate.operator.doctor.ports import ipv6
from callgate.operator.doctor.report import Examination, as_json, as_text
from callgate.operator.doctor.runner import Check, run
from callgate.operator.doctor.settings import privacy, read, secrets_in
from callgate.operator.doctor.summary import POINTS
from callgate.operator.doctor.world import Case, World
from callgate.peers.phone.options import Address
from support.edge.pairs import Authority
from support.project import ROOT

BAD = wrong("this is so", "that", "do it")


def check(name: str, *findings: Finding, needs: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Check[None]:
    async def look(shared: None) -> Sequence[Finding]:
        return findings

    return Check(name=name, title=name.title(), look=look, needs=needs, after=after)


# The engine.


async def test_a_cause_hides_its_consequences_however_far() -> None:
    checks = [check("a", BAD), check("b", ok("fine"), needs=("a",)), check("c", BAD, needs=("b",)), check("d", BAD)]
    results = await run(checks, None)
    assert [(result.name, result.status, result.cause) for result in results] == [
        ("a", Status.WRONG, None),
        ("b", Status.SKIPPED, "a"),
        ("c", Status.SKIPPED, "a"),
        ("d", Status.WRONG, None),
    ]


@pytest.mark.parametrize("need", [ok("fine"), warning("soon", "later", "wait"), skipped("not here")])
async def test_what_is_not_wrong_hides_nothing(need: Finding) -> None:
    results = await run([check("a", need), check("b", BAD, needs=("a",))], None)
    assert results[1].status is Status.WRONG


async def test_what_only_comes_after_is_looked_at_in_any_case() -> None:
    results = await run([check("a", BAD), check("b", ok("fine"), after=("a",))], None)
    assert results[1].status is Status.OK


async def test_checks_that_need_nothing_of_each_other_are_made_side_by_side() -> None:
    both = asyncio.Barrier(2)

    async def meet(shared: None) -> Sequence[Finding]:
        await both.wait()
        return [ok("met")]

    checks = [Check(name=name, title=name, look=meet, deadline=5.0) for name in ("a", "b")]
    assert [result.status for result in await run(checks, None)] == [Status.OK, Status.OK]


async def test_a_check_that_does_not_end_is_a_warning_and_holds_nobody_up() -> None:
    async def hang(shared: None) -> Sequence[Finding]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    (result,) = await run([Check(name="a", title="a", look=hang, deadline=0.01)], None)
    assert result.status is Status.WARNING


async def test_a_check_that_fails_itself_is_a_warning_that_names_the_failure() -> None:
    async def fail(shared: None) -> Sequence[Finding]:
        raise KeyError("nothing")

    results = await run([Check(name="a", title="a", look=fail), check("b", ok("fine"), needs=("a",))], None)
    assert "KeyError" in results[0].worst.found
    assert [result.status for result in results] == [Status.WARNING, Status.OK]


def test_the_worst_counts() -> None:
    assert worst([Status.OK, Status.WRONG, Status.WARNING, Status.SKIPPED]) is Status.WRONG
    assert worst([]) is Status.SKIPPED


def test_every_check_comes_after_what_it_needs_and_has_a_name_of_its_own() -> None:
    seen: set[str] = set()
    for each in (*CHECKS, CALL, REAL_CALL):
        assert {*each.needs, *each.after} <= seen, each.name
        assert each.name not in seen
        seen.add(each.name)
    assert {name for _, names in POINTS for name in names} <= seen


# The settings.


def test_every_bad_setting_is_a_finding_of_its_own() -> None:
    config, result = read({"DOMAIN": "https://x", "BASE_URL": "http://x", "MAX_CALLS": "many"})
    assert config is None
    assert [finding.found.partition(":")[0] for finding in result.findings] == ["DOMAIN", "BASE_URL", "MAX_CALLS"]


def test_secrets_are_known_though_the_settings_can_not_be_used() -> None:
    values = {
        "DOMAIN": "https://x",
        "TWILIO_AUTH_TOKEN": "one-token, another-token",
        "DATABASE_URL": "postgresql://u:a-password@h/d",
    }
    assert {"one-token", "another-token", "a-password"} <= set(secrets_in(values, None))


@pytest.mark.parametrize(
    ("mode", "status"),
    [("644", Status.WARNING), ("640", Status.WARNING), ("600", Status.OK), ("", Status.SKIPPED), ("x", Status.SKIPPED)],
)
async def test_who_can_read_the_settings_is_known_in_a_container_from_what_it_is_told(
    mode: str, status: Status
) -> None:
    case = Case(config=Config(), world=World(), values={"DOCTOR_ENV_MODE": mode})
    (finding,) = await privacy(case)
    assert finding.status is status
    assert (".env" in finding.found) == (status is not Status.SKIPPED)


async def test_what_the_environment_sets_otherwise_than_the_file_is_named_and_not_shown() -> None:
    in_file = {"DOMAIN": "a.example.org", "OPENAI_API_KEY": "s3cret-a", "PORT": "1", "GREETING": "Hi", "OTHER": "x"}
    values = {"DOMAIN": "b.example.org", "OPENAI_API_KEY": "s3cret-b", "PORT": "2", "GREETING": "Hi", "OTHER": "y"}
    findings = await environment(Case(config=Config(), world=World(), values=values, in_file=in_file))
    assert [finding.found.partition(" ")[0] for finding in findings] == ["DOMAIN", "OPENAI_API_KEY"]
    assert {finding.status for finding in findings} == {Status.WARNING}
    assert "unset DOMAIN" in findings[0].do
    assert "s3cret" not in str(findings)


async def test_a_name_in_the_file_that_is_almost_a_settings_is_named_with_that() -> None:
    in_file = {"DOMIAN": "a.example.org", "PORT": "1", "ORDERS_TOKEN": "x"}
    (finding,) = await names(Case(config=Config(), world=World(), values=in_file, in_file=in_file))
    assert (finding.status, finding.found.partition(" ")[0]) == (Status.WARNING, "DOMIAN")
    assert "DOMAIN" in finding.wanted


async def test_without_a_file_its_names_and_values_are_not_looked_at() -> None:
    case = Case(config=Config(), world=World(), values={"DOMIAN": "a.example.org"})
    assert [each.status for look in (environment, names) for each in await look(case)] == [Status.SKIPPED] * 2


@pytest.mark.parametrize("by", ["name", "standard input"])
def test_a_file_that_is_not_read_alike_by_all_is_what_is_wrong(tmp_path, monkeypatch, capsys, by) -> None:
    monkeypatch.chdir(tmp_path)
    text = b"DOMAIN=voice.example.com\nADMIN_TOKEN=s3cret$x\n"
    if by == "name":
        (tmp_path / ".env").write_bytes(text)
        code = main(["doctor", "--json"])
    else:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
        code = main(["doctor", "--json", "--env-file", "-"])
    shown = capsys.readouterr().out
    first = json.loads(shown)["first_wrong"]
    assert (code, first["name"]) == (1, "settings")
    assert first["found"].startswith(".env, line 2: Docker Compose may replace the $")
    assert "ADMIN_TOKEN='…'" in first["found"]
    assert "s3cret" not in shown


# The ports.


async def test_an_aaaa_record_that_can_not_be_tried_from_here_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async def no_ipv6(address: Address) -> None:
        raise UnreachableError("network is unreachable", no_route=True)

    monkeypatch.setattr("callgate.operator.doctor.ports.open_port", no_ipv6)
    case = Case(config=Config(domain="voice.example.com"), world=World(), addresses=("11.22.33.44", "2600::1"))
    (finding,) = await ipv6(case)
    assert finding.status is Status.WARNING
    assert "2600::1" in finding.found
    assert "can't be tried from here" in finding.found
    assert "Remove the AAAA record" in finding.do


# The command.


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--connect-to", "nowhere"], "is not of the form HOST:PORT"),
        (["--connect-to", "host:99999"], "is not of the form HOST:PORT"),
        (["--ca", "no-such-file.pem"], "can't be used as a CA file"),
        (["--env-file", "no-such-file"], "there is no such file"),
    ],
)
def test_what_can_not_be_looked_at_is_one_line_and_code_2(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_a_rehearsal_in_the_bundle_is_looked_at_where_the_phone_finds_it(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_bytes(Authority().pem)
    bundle = {"PHONE_CONNECT_TO": "nginx:8443", "PHONE_CA": str(ca)}
    args = argparse.Namespace(connect_to=None, ca=None)
    assert world_of(args, bundle) == World(edge=Address("nginx", 8443), ca=ca)
    assert world_of(args, {**bundle, "DOMAIN": "voice.example.com"}) == World()


# The report.


def result(name: str, *findings: Finding) -> Result:
    return Result(name, name.title(), findings)


def test_the_report_begins_with_the_first_that_is_wrong() -> None:
    found = Examination("https://x", (result("a", ok("fine")), result("b", BAD), result("c", wrong("c", "c", "c"))))
    lines = as_text(found, str).splitlines()
    assert lines[:6] == [
        "callgate doctor: https://x",
        "",
        "Fix this first: B",
        "          found   this is so",
        "          wanted  that",
        "          do      do it",
    ]


def test_warnings_are_not_wrong() -> None:
    found = Examination("https://x", (result("a", warning("soon", "later", "wait")),))
    assert found.is_well
    assert "Nothing is wrong; 1 warning." in as_text(found, str)


@pytest.mark.parametrize("as_it", [as_text, lambda *args: json.dumps(as_json(*args))])
def test_no_report_shows_a_secret_or_a_whole_number(as_it) -> None:
    leaky = wrong("the-token was used for +15551230009", "not the-token", "change the-token")
    printed = as_it(Examination("https://x", (result("a", leaky),)), Masking(["the-token"]).mask)
    assert "the-token" not in printed
    assert "+15551230009" not in printed


def test_the_checklist_is_the_last_page_and_has_a_tick_or_a_reason_for_each_point() -> None:
    results = [
        result("port.443", ok("open")),
        result("tls.certificate", BAD),
        Result("webhook.stranger", "Strangers", (skipped("not"),), cause="tls.certificate"),
    ]
    last = as_text(Examination("https://x", tuple(results)), str).partition("Checklist:")[2]
    marks = re.findall(r"^\[(.)\] ", last, re.MULTILINE)
    assert len(marks) == len(POINTS)
    assert marks[0] == marks[2] == " "
    assert marks[-1] == "?"


# A handshake.


def _record(kind: int, payload: bytes) -> bytes:
    return bytes([kind, 3, 3]) + len(payload).to_bytes(2, "big") + payload


def test_certificates_are_read_from_a_handshake_in_however_many_records() -> None:
    certs = [b"first", b"the second"]
    block = b"".join(len(cert).to_bytes(3, "big") + cert for cert in certs)
    body = len(block).to_bytes(3, "big") + block
    hello, message = b"\x02\x00\x00\x01x", b"\x0b" + len(body).to_bytes(3, "big") + body
    whole = hello + message
    for cut in range(1, len(whole)):
        received = _record(22, whole[:cut]) + _record(22, whole[cut:]) + _record(20, b"\x01")
        assert certificates_in(received) == tuple(certs)


@pytest.mark.parametrize(
    "received", [b"", b"\x16", _record(22, b"\x0b\xff"), _record(21, b"\x02\x28"), b"HTTP/1.1 400"]
)
def test_a_handshake_that_is_none_has_no_certificates(received: bytes) -> None:
    assert certificates_in(received) == ()


# The documentation.


def test_the_page_lists_every_check_and_no_other() -> None:
    page = (ROOT / "docs/doctor.md").read_text()
    listed = re.findall(r"^\| `([a-z]+(?:\.[a-z0-9_]+)?)` \|", page, re.MULTILINE)
    assert listed == ["settings", *(each.name for each in CHECKS), CALL.name, REAL_CALL.name]
