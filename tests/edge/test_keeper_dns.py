"""DNS-01: the authority finds the proof in DNS, and port 80 may be closed. With a real DNS server, and its plugin."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest
from demo.local_edge import LocalEdge
from support.edge.dns_server import DnsServer
from support.edge.keepers import edge_with_authority, keeper

WILDCARD = "*.callgate.example"


@pytest.fixture(scope="module")
def dns() -> Iterator[DnsServer]:
    with DnsServer("callgate.example") as dns:
        yield dns


@pytest.fixture
def edge(dns: DnsServer) -> Iterator[LocalEdge]:
    """Yield an edge whose authority asks that DNS server, and finds nothing on port 80."""
    with edge_with_authority(acme_dns=dns.address, acme_config={"httpPort": 1}) as edge:
        yield edge


def settings(dns: DnsServer, **changes: str) -> dict[str, str]:
    return {
        "ACME_CHALLENGE": "dns-rfc2136",
        "ACME_DNS_CREDENTIALS": str(dns.credentials()),
        "ACME_DNS_SECONDS": "1",
        "KEEPER_RESOLVER": dns.address,
        **changes,
    }


def test_certificate_with_a_wildcard_is_issued_served_and_renewed(edge: LocalEdge, dns: DnsServer) -> None:
    with_wildcard = settings(dns, EXTRA_DOMAINS=WILDCARD)
    done = keeper(edge, "issue", **with_wildcard)
    assert done.returncode == 0, done.stdout + done.stderr
    first = edge.served_certificate()
    done = keeper(edge, "issue", "--force", **with_wildcard)
    assert done.returncode == 0, done.stdout + done.stderr
    assert edge.served_certificate() != first
    assert dns.secret not in "".join(
        path.read_text() for path in (edge.state / "certbot/logs").iterdir() if path.is_file()
    )


def test_a_key_that_the_dns_server_refuses_is_the_cause(edge: LocalEdge, dns: DnsServer) -> None:
    changes = settings(dns)
    dns.credentials(secret=base64.b64encode(b"wrong" * 6).decode())
    done = keeper(edge, "issue", **changes)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "the DNS provider did not take the record" in line
    assert "ACME_DNS_CREDENTIALS" in line


def test_without_the_plugin_the_way_to_get_it_is_told(edge: LocalEdge, dns: DnsServer) -> None:
    done = keeper(edge, "issue", **settings(dns, ACME_CHALLENGE="dns-cloudflare"))
    assert done.returncode == 1
    assert "CERTBOT_PLUGINS=certbot-dns-cloudflare" in done.stderr


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ACME_DNS_CREDENTIALS": "/nowhere/x.ini"}, "there is no such file"),
        ({"ACME_CHALLENGE": "tls-alpn-01"}, "wanted http-01, or a DNS plugin"),
        ({"ACME_DNS_SECONDS": "soon"}, "wanted a number of seconds"),
        ({"ACME_CHALLENGE": "http-01", "EXTRA_DOMAINS": WILDCARD}, "only by DNS-01"),
    ],
)
def test_settings_that_can_not_work_are_refused(
    edge: LocalEdge, dns: DnsServer, changes: dict[str, str], says: str
) -> None:
    done = keeper(edge, "issue", **settings(dns, **changes))
    assert done.returncode == 2
    assert says in done.stderr
