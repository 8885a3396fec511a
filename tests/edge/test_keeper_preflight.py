"""What the keeper looks at beforehand, with the real certbot, Pebble and nginx: a machine that sees the network in its
own way gets its certificate nevertheless, and what can't work is refused before the authority is asked."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
from demo.local_edge import LOOPBACK, LocalEdge
from support.connect_proxy import ConnectProxy
from support.edge.keepers import files_below, keeper
from support.edge.name_server import SILENCE, NameServer
from support.edge.pairs import Authority

FAILED = 1
UNUSABLE = 2
ACME_HOST = "acme.invalid"  # which no resolver knows, only the proxy
SECRET = "the-password-of-the-proxy"
CONTROL = {f"letsencrypt.org {kind}": [] for kind in ("A", "AAAA", "CAA")}


def known_as_acme_host(cert: Path, key: Path) -> None:
    """Make the certificate of Pebble's own API, for the name that only the proxy knows too."""
    pair = Authority("The test's ACME server").issue(LOOPBACK, ACME_HOST)
    cert.write_bytes(pair.fullchain)
    key.write_bytes(pair.privkey)


@pytest.fixture(scope="module")
def blank() -> Iterator[LocalEdge]:
    """Yield an edge with an authority."""
    with patch("demo.local_edge.make_self_signed", known_as_acme_host), LocalEdge() as edge:
        edge.start_nginx(1)
        edge.start_acme()
        yield edge


def server(edge: LocalEdge) -> str:
    """The authority's directory URL by the name that only the proxy knows."""
    assert edge.acme_directory is not None
    return edge.acme_directory.replace(LOOPBACK, ACME_HOST)


def kept(edge: LocalEdge) -> dict[str, bytes | str]:
    """Return what is published and what certbot keeps, but for what it writes at each run."""
    config = files_below(edge.state / "certbot" / "config")
    return {**config, **(files_below(edge.published) if edge.published.exists() else {})}


def refusal(done: subprocess.CompletedProcess[str], status: int) -> str:
    """Return the only line of a failed run's output."""
    assert done.returncode == status, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    return line


# A machine that only a proxy connects with the authority.


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_certificate_is_got_through_a_proxy_that_wants_a_password(blank: LocalEdge, variable: str) -> None:
    with ConnectProxy({ACME_HOST: LOOPBACK}, user=f"keeper:{SECRET}") as proxy:
        done = keeper(blank, "issue", "--force", ACME_SERVER=server(blank), **{variable: proxy.url})
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"good: the ACME server {server(blank)} answers through the proxy {LOOPBACK}:{proxy.port}" in done.stdout
    assert "served now, by the handshake" in done.stdout
    assert blank.served_certificate() is not None
    # nginx and port 80 were asked directly, and the authority never.
    assert {target.rpartition(":")[0] for target in proxy.asked} == {ACME_HOST}
    assert len(proxy.asked) > 1

    written = [done.stdout.encode(), done.stderr.encode(), *files_below(blank.state).values()]
    assert not [text for text in written if SECRET in str(text)]


def test_without_the_proxy_the_authority_is_not_reached_and_the_proxy_is_suggested(blank: LocalEdge) -> None:
    before = kept(blank)
    done = keeper(blank, "issue", "--force", ACME_SERVER=server(blank))
    assert "the ACME server can't be reached" in refusal(done, FAILED)
    assert f"suspicious: the ACME server {server(blank)} can't be reached from here" in done.stdout
    assert "if only a proxy leads out, name it in HTTPS_PROXY" in done.stdout
    assert kept(blank) == before


def test_password_that_the_proxy_refuses_is_named_and_not_shown(blank: LocalEdge) -> None:
    with ConnectProxy({ACME_HOST: LOOPBACK}, user="keeper:another") as proxy:
        wrong = proxy.url.replace("another", SECRET)
        done = keeper(blank, "issue", "--force", ACME_SERVER=server(blank), HTTPS_PROXY=wrong)
    refusal(done, FAILED)
    assert f"suspicious: the proxy {LOOPBACK}:{proxy.port} wants another user and password (status 407)" in done.stdout
    written = [done.stdout.encode(), done.stderr.encode(), *files_below(blank.state).values()]
    assert not [text for text in written if SECRET in str(text)]


# A machine that sees other names than the authority.


@pytest.mark.parametrize(
    ("zone", "says"),
    [
        ({"A": "NXDOMAIN", "AAAA": "NXDOMAIN"}, "does not resolve here (the name does not exist)"),
        ({"A": "SERVFAIL", "AAAA": "SERVFAIL", "CAA": "SERVFAIL"}, "does not resolve here (its DNS servers fail"),
        ({"A": SILENCE, "AAAA": SILENCE, "CAA": SILENCE}, "does not resolve here (its DNS servers do not answer)"),
        ({"A": ["127.0.0.99"]}, "port {port} of 127.0.0.99 can't be reached from here"),
        ({"A": [LOOPBACK], "AAAA": ["100::1"]}, "port {port} of 100::1"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_certificate_is_got_though_this_machine_sees_the_name_otherwise(
    blank: LocalEdge, zone: dict[str, str | list[str]], says: str
) -> None:
    with NameServer({**CONTROL, **{f"{blank.domain} {kind}": said for kind, said in zone.items()}}) as dns:
        done = keeper(blank, "issue", "--force", KEEPER_RESOLVER=dns.address)
    assert done.returncode == 0, done.stdout + done.stderr
    assert says.format(port=blank.http_port) in done.stdout
    assert "wrong:" not in done.stdout
    assert "served now, by the handshake" in done.stdout


def test_name_that_the_authority_does_not_see_either_is_told_twice(blank: LocalEdge) -> None:
    """Once as this machine's doubt, which says what to do, and once as the authority's answer."""
    before = kept(blank)
    with NameServer(CONTROL) as dns:
        done = keeper(blank, "issue", EXTRA_DOMAINS="nowhere.invalid", KEEPER_RESOLVER=dns.address)
    assert "nowhere.invalid" in refusal(done, FAILED)
    assert "suspicious: nowhere.invalid does not resolve here" in done.stdout
    assert "set its A record to this machine's public address" in done.stdout
    assert kept(blank) == before


# What can't work, whatever the authority sees.


def test_profile_that_the_authority_does_not_offer(blank: LocalEdge) -> None:
    before = kept(blank)
    line = refusal(keeper(blank, "issue", "--force", "--profile", "tlsserver"), UNUSABLE)
    assert line.startswith("keeper: the ACME server has no profile 'tlsserver'")
    assert line.endswith("(the certificate authority was not asked)")
    assert kept(blank) == before


def test_domain_in_other_letters_than_those_of_dns(blank: LocalEdge) -> None:
    line = refusal(keeper(blank, "issue", DOMAIN="bücher.example"), UNUSABLE)
    assert line == "keeper: DOMAIN is 'bücher.example': write it as it is in DNS, xn--bcher-kva.example"
