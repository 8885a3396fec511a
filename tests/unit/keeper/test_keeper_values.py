"""Settings, requests, certificates and the keeper's saved state: the parts without a network."""

import asyncio
import contextlib
import dataclasses
import datetime
import logging
import os
from pathlib import Path

import pytest
from keeper.acme.certbot import Certbot
from keeper.acme.problems import Start
from keeper.errors import BusyError, PublishError, UsageError
from keeper.issue import Request
from keeper.kinds import Kind
from keeper.ladder import DAYS, Ladder
from keeper.pairs import self_signed
from keeper.pairs.certificate import Certificate, flaw
from keeper.pairs.published import Published
from keeper.settings import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Settings
from keeper.state import State, Store
from support.edge.pairs import Authority, Pair

DOMAIN = "voice.example.com"
ADDRESS = "203.0.113.7"
NOW = datetime.datetime(2027, 3, 1, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


# Settings.


def test_without_anything_it_is_a_rehearsal():
    settings = Settings.parse({})
    assert settings.is_rehearsal
    assert (settings.domain, str(settings.edge)) == ("localhost", "nginx:8443")


def test_empty_values_are_values_that_are_not_set():
    settings = Settings.parse({"DOMAIN": "", "ACME_SERVER": "", "ACME_CA_BUNDLE": "", "ACME_PROFILE": ""})
    assert settings == Settings.parse({})


def test_lets_encrypt_is_rehearsed_at_its_staging_server_and_another_authority_is_not():
    assert Settings.parse({"DOMAIN": DOMAIN}).staging_server == LETS_ENCRYPT_STAGING
    assert Settings.parse({"DOMAIN": DOMAIN, "ACME_SERVER": "https://ca.example/dir"}).staging_server == ""


@pytest.mark.parametrize(
    ("value", "kinds"),
    [
        ("", (Kind.ECDSA,)),
        ("ecdsa", (Kind.ECDSA,)),
        ("rsa", (Kind.RSA,)),
        (" ecdsa+rsa ", (Kind.ECDSA, Kind.RSA)),
    ],
)
def test_kinds_of_keys(value: str, kinds: tuple[Kind, ...]):
    settings = Settings.parse({"DOMAIN": DOMAIN, "CERTIFICATE_KEYS": value})
    assert settings.kinds == kinds
    assert settings.name_of(kinds[0]) == DOMAIN, "what it was called with one kind"
    assert Settings.parse({"CERTIFICATE_KEYS": value}).kinds == (Kind.ECDSA,), "a rehearsal's certificate is made here"


def test_kinds_of_keys_are_refused_beside_a_certificate_of_your_own():
    own = {"DOMAIN": DOMAIN, "TLS_CERTIFICATE": "a.pem", "TLS_KEY": "b.pem"}
    assert Settings.parse({**own, "CERTIFICATE_KEYS": "ecdsa"}).own_pair is not None
    for value in ("rsa", "ecdsa+rsa"):
        with pytest.raises(UsageError, match=r"remove CERTIFICATE_KEYS from \.env"):
            Settings.parse({**own, "CERTIFICATE_KEYS": value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CERTIFICATE_KEYS", "both"),
        ("CERTIFICATE_KEYS", "rsa+ecdsa"),
        ("DOMAIN", "https://voice.example.com"),
        ("DOMAIN", "voice..example.com"),
        ("DOMAIN", "999.1.1.1"),
        ("ACME_SERVER", "http://ca.example/dir"),
        ("ACME_CA_BUNDLE", "no-such-file.pem"),
        ("EDGE_HTTPS", "nginx"),
        ("EDGE_HTTPS", "nginx:99999"),
        ("KEEPER_RESOLVER", "127.0.0.1"),
        ("KEEPER_HTTP_PORT", "http"),
    ],
)
def test_bad_setting_is_named_with_its_value(name: str, value: str):
    with pytest.raises(UsageError) as refused:
        Settings.parse({"DOMAIN": DOMAIN, name: value})
    assert str(refused.value).startswith(f"{name} is '{value}': ")


# Requests.


def request(domain: str = DOMAIN, extra: str = "", **options: object) -> Request:
    return Request.of(Settings.parse({"DOMAIN": domain, "EXTRA_DOMAINS": extra}), **options)  # type: ignore[arg-type]


def test_domain_comes_first_and_each_name_once():
    names = (DOMAIN, "b.example", "c.example")
    assert request(extra=f"b.example, {DOMAIN.upper()}  c.example b.example.").names == names
    assert request(extra="b.example c.example", domains=["B.example"]).names == names, "one certificate for all"


def test_staging_asks_the_staging_server():
    assert (request().server, request(staging=True).server) == (LETS_ENCRYPT, LETS_ENCRYPT_STAGING)


def test_address_takes_the_profile_that_it_needs():
    assert request(ADDRESS, ip=True).wish.profile == "shortlived"
    assert request().wish.profile == ""


@pytest.mark.parametrize(
    ("domain", "options", "message"),
    [
        ("localhost", {}, "DOMAIN is not set"),
        (DOMAIN, {"domains": ["other.example"]}, "EXTRA_DOMAINS=other.example"),
        (DOMAIN, {"ip": True}, "leave --ip out"),
        (ADDRESS, {}, "add --ip"),
        (ADDRESS, {"ip": True, "extra": "b.example"}, "can hold no other names"),
        (DOMAIN, {"extra": "localhost"}, "DOMAIN is not"),
        (DOMAIN, {"extra": "*.elsewhere.example"}, "only by DNS-01"),
    ],
)
def test_request_that_can_not_work_is_refused(domain: str, options: dict[str, object], message: str):
    with pytest.raises(UsageError, match=message):
        request(domain, **options)


# Certificates.


@pytest.mark.parametrize(("days", "left"), [(90, 30), (64, 64 / 3), (45, 15), (6, 3)])
def test_renewal_is_a_share_of_the_lifetime(days: int, left: float):
    certificate = Certificate(frozenset({DOMAIN}), 1, NOW, NOW + datetime.timedelta(days=days), "CN=x", False, False)
    assert (certificate.not_after - certificate.renewal).total_seconds() == pytest.approx(left * DAYS)


def test_self_signed_pair_says_what_it_is():
    pair = self_signed.make("localhost", NOW)
    certificate = Certificate.parse(pair.fullchain)
    assert certificate.is_self_signed
    assert certificate.names == {"localhost"}
    assert certificate.valid_at(NOW.timestamp())
    assert not certificate.good_for("other.example", NOW.timestamp())
    assert pair.fullchain.endswith(pair.issuer)


def test_issued_pair_is_not_self_signed_and_not_staging(authority: Authority):
    certificate = Certificate.parse(authority.issue(DOMAIN).fullchain)
    assert (certificate.is_self_signed, certificate.is_staging) == (False, False)


# certbot's folders.


def test_certificates_of_the_last_week_with_the_same_names_are_counted(authority: Authority, tmp_path: Path):
    settings = dataclasses.replace(Settings.parse({"DOMAIN": DOMAIN}), state=tmp_path)
    archive = tmp_path / "config" / "archive" / DOMAIN
    archive.mkdir(parents=True)
    day = datetime.timedelta(days=1)
    pairs = [authority.issue(DOMAIN, starts_in=-days * day, ends_in=30 * day) for days in (1, 6, 8)]
    pairs.append(authority.issue(DOMAIN, "b.example"))
    for number, pair in enumerate(pairs):
        (archive / f"cert{number}.pem").write_bytes(pair.fullchain)
    (archive / "cert9.pem").write_bytes(b"half written")
    aside = tmp_path / "config.5.aside" / "archive" / DOMAIN
    aside.mkdir(parents=True)
    (aside / "cert1.pem").write_bytes(authority.issue(DOMAIN, starts_in=-2 * day, ends_in=30 * day).fullchain)
    now = datetime.datetime.now(datetime.UTC).timestamp()
    folders = Certbot(settings, [DOMAIN]).folders
    assert len(folders.issued_lately([DOMAIN], now)) == 3
    assert len(folders.issued_lately([DOMAIN, "b.example"], now)) == 1


# The published folder.


def test_rollback_to_an_expired_pair_is_refused(authority: Authority, tmp_path: Path):
    day = datetime.timedelta(days=1)
    home = tmp_path / DOMAIN
    authority.issue(DOMAIN, starts_in=-2 * day, ends_in=-day).write(home / "AA")
    authority.issue(DOMAIN).write(home / "BB")
    (home / "current").symlink_to("BB")
    with pytest.raises(PublishError, match="is expired"):
        Published(tmp_path, DOMAIN, {}).swap(datetime.datetime.now(datetime.UTC).timestamp())
    assert (home / "current").readlink() == Path("BB")


def test_rollback_with_one_pair_only_is_refused(authority: Authority, tmp_path: Path):
    authority.issue(DOMAIN).write(tmp_path / DOMAIN / "AA")
    (tmp_path / DOMAIN / "current").symlink_to("AA")
    with pytest.raises(PublishError, match="only one was published so far"):
        Published(tmp_path, DOMAIN, {}).swap(0.0)


async def test_staging_certificate_is_published_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(self_signed, "SELF_SIGNED", "(STAGING) Let's Encrypt")
    pair = self_signed.make(DOMAIN, datetime.datetime.now(datetime.UTC))
    assert Certificate.parse(pair.fullchain).is_staging
    Pair(pair.fullchain, pair.privkey).write(tmp_path / "live")
    published = Published(tmp_path / "published", DOMAIN, {"PATH": os.environ["PATH"]})
    with pytest.raises(PublishError, match="is of a staging server"):
        await published.publish(tmp_path / "live")
    assert published.certificate() is None
    await published.publish(tmp_path / "live", staging=True)
    assert published.certificate() == Certificate.parse(pair.fullchain)


# Saved state.


def store(folder: Path, server: str = "https://ca.example/dir") -> Store:
    return Store(folder, name=DOMAIN, server=server)


def test_state_survives_a_restart(tmp_path: Path):
    state = State(server="https://ca.example/dir", ladder=Ladder().failed(5.0), failure="x", held_back="AB")
    store(tmp_path).write(state)
    assert store(tmp_path).read() == state
    assert [path.name for path in tmp_path.iterdir()] == [f"{DOMAIN}.json"]


def test_state_about_another_authority_says_nothing(tmp_path: Path):
    store(tmp_path).write(State(server="https://ca.example/dir", failure="x"))
    assert store(tmp_path, "https://other.example/dir").read() == State(server="https://other.example/dir")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"ladder": {"steps": 3}}', '{"ladder": {}, "other": 1}', '{"ladder": 1}']
)
def test_state_that_is_damaged_starts_anew_with_a_warning(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture):
    (tmp_path / f"{DOMAIN}.json").write_text(text)
    with caplog.at_level(logging.WARNING):
        assert store(tmp_path).read() == State(server="https://ca.example/dir")
    assert "a new one is started" in caplog.text


async def test_lock_lets_one_in_and_tells_the_other(tmp_path: Path):
    async with store(tmp_path).lock(0.0):
        with pytest.raises(BusyError):
            async with store(tmp_path).lock(0.0):
                pass
    async with asyncio.timeout(5.0), store(tmp_path).lock(0.0):
        pass


def test_a_wildcard_that_stands_for_the_domain_too_is_refused(tmp_path: Path):
    dns = {"DOMAIN": DOMAIN, "ACME_CHALLENGE": "dns-cloudflare"}
    with pytest.raises(UsageError, match="Let's Encrypt refuses both"):
        Settings.parse({**dns, "EXTRA_DOMAINS": "*.example.com"})
    assert Settings.parse({**dns, "EXTRA_DOMAINS": f"*.{DOMAIN}"}).names == (DOMAIN, f"*.{DOMAIN}")


def test_route_53_is_given_its_credentials_by_its_environment_and_no_option_that_it_lacks(tmp_path: Path):
    (tmp_path / "aws").touch()
    dns = {"ACME_DNS_CREDENTIALS": "aws", "ACME_DNS_SECONDS": "60", "KEEPER_FILES": str(tmp_path)}
    aws = Settings.parse({"DOMAIN": DOMAIN, "ACME_CHALLENGE": "dns-route53", **dns}).challenge
    assert aws.options == ["--authenticator", "dns-route53"]
    assert aws.environ == {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "aws")}
    with pytest.raises(UsageError, match="at most"):
        Settings.parse({"DOMAIN": DOMAIN, "ACME_CHALLENGE": "dns-cloudflare", "ACME_DNS_SECONDS": "601"})


def test_what_certbot_wrote_in_quotes_is_read_without_them(tmp_path: Path):
    settings = dataclasses.replace(Settings.parse({"DOMAIN": DOMAIN}), state=tmp_path)
    renewal = tmp_path / "config" / "renewal"
    renewal.mkdir(parents=True)
    (renewal / f"{DOMAIN}.conf").write_text('[renewalparams]\nserver = "https://ca.example/dir?tenant=a,b"\n')
    assert Certbot(settings, [DOMAIN]).folders.server == "https://ca.example/dir?tenant=a,b"


@pytest.mark.parametrize(("names", "is_good"), [(("*.example.com",), True), (("*.voice.example.com",), False)])
def test_a_wildcard_stands_for_one_label(authority: Authority, names: tuple[str, ...], is_good: bool):
    now = datetime.datetime.now(datetime.UTC).timestamp()
    assert Certificate.parse(authority.issue(*names).fullchain).good_for(DOMAIN, now) == is_good


def test_the_issuer_may_stand_anywhere_behind_the_first_certificate(authority: Authority, tmp_path: Path):
    pair = authority.issue(DOMAIN)
    leaf = pair.fullchain.removesuffix(authority.pem)
    Pair(leaf + leaf + authority.pem, pair.privkey).write(tmp_path / "good")
    Pair(leaf + leaf, pair.privkey).write(tmp_path / "bad")
    assert flaw(tmp_path / "good") == ""
    assert "does not hold the issuer" in flaw(tmp_path / "bad")


# New starts.


def starting(tmp_path: Path) -> Certbot:
    settings = dataclasses.replace(Settings.parse({"DOMAIN": DOMAIN}), state=tmp_path)
    (tmp_path / "config" / "old").mkdir(parents=True)
    return Certbot(settings, [DOMAIN])


def test_a_new_start_that_is_ended_after_it_got_a_certificate_counts(authority: Authority, tmp_path: Path):
    folders = starting(tmp_path).folders
    with contextlib.suppress(asyncio.CancelledError), folders.set_aside(Start.AFRESH):
        authority.issue(DOMAIN).write(folders.lineage)
        raise asyncio.CancelledError
    assert folders.certificate() is not None
    assert [path.name.partition(".")[0] for path in tmp_path.glob("*.aside")] == ["config"]


def test_a_new_start_without_one_leaves_what_was_there_and_what_it_got_counts(authority: Authority, tmp_path: Path):
    folders = starting(tmp_path).folders
    now = datetime.datetime.now(datetime.UTC).timestamp()
    with contextlib.suppress(ValueError), folders.set_aside(Start.AFRESH):
        archive = folders.config / "archive" / DOMAIN
        archive.mkdir(parents=True)
        (archive / "cert1.pem").write_bytes(authority.issue(DOMAIN).fullchain)
        raise ValueError("x")
    assert (folders.config / "old").is_dir()
    assert len(folders.issued_lately([DOMAIN], now)) == 1
