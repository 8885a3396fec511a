"""The checks beforehand as a whole: what is wrong, what is only suspicious, and what is not asked at all."""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from keeper.look.finding import Finding
from keeper.look.preflight import Verdict, preflight
from keeper.settings import Settings
from support.disks import fill, small_disk
from support.edge.directories import directory_server
from support.edge.name_server import LOOPBACK, SILENCE, NameServer
from support.edge.pairs import Authority

NAME = "voice.example.com"
META = {"caaIdentities": ["ca.example"], "profiles": {"classic": ""}}
# The control query, which is asked for when another failed: the authority is named by its address in these tests.
CONTROL = {f"letsencrypt.org {kind}": [] for kind in ("A", "AAAA", "CAA")}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield a directory's URL, and the CA to trust."""
    folder, authority = tmp_path_factory.mktemp("acme"), Authority()
    (folder / "ca.pem").write_bytes(authority.pem)
    with directory_server(folder, authority.issue(LOOPBACK), meta=META) as url:
        yield url, folder / "ca.pem"


@pytest.fixture
def settings(server: tuple[str, Path], tmp_path: Path) -> Settings:
    folders = {name: str(tmp_path / name) for name in ("ACME_WEBROOT", "CERTBOT_STATE", "CERT_PUBLISHED")}
    # Nothing listens at port 1.
    return Settings.parse({"DOMAIN": NAME, "ACME_CA_BUNDLE": str(server[1]), "KEEPER_HTTP_PORT": "1", **folders})


async def looked(
    settings: Settings, url: str, zone: dict[str, str | list[str]], names: list[str] | None = None, **options: str
) -> list[Finding]:
    with NameServer({**CONTROL, **zone}) as dns:
        resolver = Settings.parse({"KEEPER_RESOLVER": dns.address}).resolver
        asked = dataclasses.replace(settings, resolver=resolver)
        options = {"profile": "classic", **options}
        return await preflight(asked, names or [NAME], server=url, now=time.time(), **options)


def worse(findings: list[Finding]) -> list[str]:
    return [str(finding) for finding in findings if finding.verdict is not Verdict.GOOD]


ZONE: dict[str, str | list[str]] = {f"{NAME} A": [LOOPBACK]}


@pytest.mark.parametrize(
    ("zone", "says"),
    [
        ({f"{NAME} A": "NXDOMAIN", f"{NAME} AAAA": "NXDOMAIN"}, "does not resolve here (the name does not exist)"),
        ({}, f"{NAME} does not resolve here (it has neither an A nor an AAAA record): set its A record"),
        ({f"{NAME} A": ["CNAME gone.example"], "gone.example A": "NXDOMAIN"}, "an alias of gone.example, which does"),
        (
            {f"{NAME} A": "SERVFAIL", f"{NAME} AAAA": "SERVFAIL"},
            "does not resolve here (its DNS servers fail (SERVFAIL",
        ),
        ({f"{NAME} A": SILENCE, f"{NAME} AAAA": SILENCE}, "does not resolve here (its DNS servers do not answer)"),
        ({f"{NAME} A": ["10.1.2.3"]}, f"{NAME} is 10.1.2.3 here, which is not a public address"),
        ({**ZONE, f"{NAME} AAAA": ["::1"]}, "so let the AAAA record lead to this machine, or remove it"),
        (ZONE, f"port 1 of {LOOPBACK} can't be reached from here (Connection refused): open port 80"),
        ({**ZONE, "example.com CAA": "SERVFAIL"}, "the CAA records of example.com can't be read here (its DNS servers"),
        ({**ZONE, f"{NAME} CAA": SILENCE}, f"the CAA records of {NAME} can't be read here (its DNS servers do not"),
        (
            {**ZONE, "example.com CAA": ['0 issue "corp.example"']},
            f'of example.com, as seen here, forbid ca.example to issue for {NAME} by http-01: add 0 issue "ca.example"',
        ),
    ],
)
async def test_what_only_this_machine_sees_is_suspicious_and_never_wrong(
    settings: Settings, server: tuple[str, Path], zone: dict[str, str | list[str]], says: str
):
    findings = await looked(settings, server[0], zone)
    assert any(says in line for line in worse(findings)), worse(findings)
    assert not [finding for finding in findings if finding.verdict is Verdict.WRONG]


async def test_address_of_another_machine_is_told_without_a_record(settings: Settings, server: tuple[str, Path]):
    lines = worse(await preflight(settings, [LOOPBACK], server=server[0], profile="", now=time.time()))
    (line,) = [line for line in lines if "port 1 of" in line]
    assert "check that this address belongs to this machine" in line


async def test_machine_that_sees_nothing_at_all_has_only_doubts(settings: Settings):
    blind = {f"{name} {kind}": SILENCE for name in (NAME, "letsencrypt.org") for kind in ("A", "AAAA", "CAA")}
    findings = await looked(settings, f"https://{LOOPBACK}:1/dir", blind)
    assert {finding.verdict for finding in findings} == {Verdict.GOOD, Verdict.SUSPICIOUS, Verdict.CANT_TELL}
    assert f"can't tell: whether {NAME} resolves: no DNS server answers here" in worse(findings)


async def test_resolver_that_nobody_knows_is_told_and_the_machines_own_is_asked(
    settings: Settings, server: tuple[str, Path]
):
    lost = dataclasses.replace(settings, resolver=Settings.parse({"KEEPER_RESOLVER": "dns.invalid:53"}).resolver)
    findings = await preflight(lost, [LOOPBACK], server=server[0], profile="", now=time.time())
    assert any("KEEPER_RESOLVER is 'dns.invalid:53'" in line for line in worse(findings))
    assert not [finding for finding in findings if finding.verdict is Verdict.WRONG]


async def test_wrong_clock_is_the_first_finding(settings: Settings, server: tuple[str, Path]):
    first, *_ = await preflight(settings, [LOOPBACK], server=server[0], profile="", now=time.time() - 90 * 86400)
    assert str(first) == "wrong: this machine's clock is 90 days slow: set it by NTP"


async def test_clock_that_is_days_off_is_the_only_cause_that_is_told(settings: Settings, tmp_path: Path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    valid = {"starts_in": datetime.timedelta(days=-90), "ends_in": datetime.timedelta(days=-10)}
    with directory_server(tmp_path / "server", authority.issue(LOOPBACK, **valid), clock_is_off=-12 * 86400.0) as url:
        asked = dataclasses.replace(settings, ca_bundle=tmp_path / "ca.pem")
        findings = await preflight(asked, [LOOPBACK], server=url, profile="classic", now=time.time())
    assert [finding.says for finding in findings if finding.verdict is Verdict.WRONG] == [
        "this machine's clock is 12 days fast: set it by NTP"
    ]
    assert not [finding for finding in findings if "clock is right" in finding.says or "not trusted" in finding.says]


async def test_profile_that_is_not_offered_is_wrong(settings: Settings, server: tuple[str, Path]):
    findings = await looked(settings, server[0], ZONE, profile="shortlived")
    (wrong,) = [finding for finding in findings if finding.verdict is Verdict.WRONG]
    assert "has no profile 'shortlived'" in wrong.says


@pytest.fixture
def unwritable(settings: Settings) -> Settings:
    """Return settings whose webroot not even root can write: a file stands where the challenges' folder should be."""
    settings.webroot.mkdir()
    (settings.webroot / ".well-known").touch()
    return settings


async def test_webroot_that_can_not_be_written_is_wrong_and_told_once(unwritable: Settings, server: tuple[str, Path]):
    findings = await looked(unwritable, server[0], ZONE, [NAME, "b.example.com"])
    assert [str(finding) for finding in findings if "can't be written" in finding.says] == [
        f"wrong: {unwritable.webroot}/.well-known/acme-challenge can't be written (Not a directory): make room on it, "
        "or give it to this user"
    ]


@pytest.mark.parametrize("what", ["state", "published", "webroot"])
async def test_full_disk_is_wrong_and_told_once(
    settings: Settings, server: tuple[str, Path], tmp_path: Path, what: str
):
    with small_disk(tmp_path / "small", "256k") as folder:
        fill(folder / "ballast")
        findings = await looked(dataclasses.replace(settings, **{what: folder}), server[0], ZONE)
    (wrong,) = [finding.says for finding in findings if finding.verdict is Verdict.WRONG]
    assert wrong.startswith(f"the disk of {folder} is full")


async def test_nothing_is_left_in_the_webroot(settings: Settings, server: tuple[str, Path]):
    await looked(settings, server[0], ZONE, [NAME, LOOPBACK])
    assert [path for path in settings.webroot.rglob("*") if path.is_file()] == []


# Proved in DNS.


async def test_names_proved_in_dns_need_no_address_no_port_and_no_webroot(
    unwritable: Settings, server: tuple[str, Path]
):
    with NameServer(CONTROL) as dns:
        resolver = Settings.parse({"KEEPER_RESOLVER": dns.address}).resolver
        asked = dataclasses.replace(unwritable, resolver=resolver)
        names = [NAME, "*.example.com"]
        findings = await preflight(
            asked, names, server=server[0], profile="classic", now=time.time(), challenge="dns-01"
        )
        assert worse(findings) == []
        assert {line.split()[-1] for line in dns.asked} == {"CAA"}
        assert not [line for line in dns.asked if "*" in line]


@pytest.mark.parametrize(
    ("records", "says"),
    [
        (
            ['0 issue "ca.example"', '0 issuewild ";"'],
            "forbid ca.example to issue for *.example.com by dns-01: add 0 issue",
        ),
        (['0 issue "ca.example; validationmethods=http-01"'], "forbid ca.example to issue for *.example.com by dns-01"),
        (['0 issue ";"', '0 issuewild "ca.example"'], ""),
    ],
)
async def test_wildcard_is_judged_by_its_own_caa_records(
    settings: Settings, server: tuple[str, Path], records: list[str], says: str
):
    zone: dict[str, str | list[str]] = {"example.com CAA": records}
    lines = worse(await looked(settings, server[0], zone, ["*.example.com"], challenge="dns-01"))
    assert [says in line for line in lines] == ([True] if says else [])


async def test_authority_that_does_not_say_its_name_is_not_judged_by_caa(settings: Settings, tmp_path: Path):
    authority = Authority()
    (tmp_path / "ca.pem").write_bytes(authority.pem)
    with directory_server(tmp_path / "server", authority.issue(LOOPBACK)) as url:
        asked = dataclasses.replace(settings, ca_bundle=tmp_path / "ca.pem")
        zone = {**ZONE, f"{NAME} CAA": ['0 issue "ca.example"']}
        lines = worse(await looked(asked, url, zone, profile=""))
    assert [line for line in lines if "CAA" in line] == [
        f"can't tell: whether the CAA records of {NAME} permit {url}: it does not say its name for CAA"
    ]


# Names as they are written.


async def test_dot_at_the_end_and_capitals_do_not_make_another_name(settings: Settings, server: tuple[str, Path]):
    once = await looked(settings, server[0], ZONE, [NAME])
    again = await looked(settings, server[0], ZONE, ["Voice.Example.COM.", NAME])
    assert sorted(map(str, again)) == sorted(map(str, once))
