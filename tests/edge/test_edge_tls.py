"""Mozilla's guideline 6.0, "Intermediate", from a client's view; and what the edge does not reveal about itself.

https://wiki.mozilla.org/Security/Server_Side_TLS
"""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from demo.local_edge import LOOPBACK, LocalEdge, find_program, free_ports
from support.edge.backends import Backend
from support.edge.pairs import Authority
from support.edge.probes import ask

GOOD = {
    "ECDSA": {
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
    },
    "RSA": {
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-CHACHA20-POLY1305",
    },
}
GOOD_1_3 = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
ALL_1_3 = GOOD_1_3 | {"TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"}

Beside = Callable[..., AbstractContextManager[LocalEdge]]


def openssl(*words: str) -> subprocess.CompletedProcess[str]:
    argv = [find_program("openssl"), *words]
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)


def client(edge: LocalEdge, *words: str) -> str:
    """Make a handshake with openssl's client, and return its description of the session."""
    address = f"{LOOPBACK}:{edge.https_port}"
    return openssl("s_client", "-connect", address, "-servername", edge.domain, *words).stdout


def suite(edge: LocalEdge, *words: str) -> str | None:
    """Return the negotiated suite, if any."""
    found = re.search(r"^New, TLSv1\.[23], Cipher is ([A-Z0-9_-]+)$", client(edge, *words), re.MULTILINE)
    return found[1] if found else None


@pytest.fixture(scope="module", params=["ECDSA", "RSA"])
def served(request: pytest.FixtureRequest, backend: Backend) -> Iterator[tuple[str, LocalEdge]]:
    """Run an edge with a certificate for this kind of key."""
    kind = request.param
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "ECDSA" else rsa.generate_private_key(65537, 2048)
    with LocalEdge() as edge:
        current = edge.published / edge.domain / "current"
        Authority().issue(edge.domain, key=key).write(current)
        (current / "privkey.pem").chmod(0o644)
        edge.start_nginx(backend.port)
        yield kind, edge


def test_tls_1_2_knows_the_guidelines_suites_and_no_other(served: tuple[str, LocalEdge]) -> None:
    kind, edge = served
    left = openssl("ciphers", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0").stdout.strip().split(":")
    agreed = set()
    # A suite that was negotiated is not offered again.
    while name := suite(edge, "-tls1_2", "-cipher", ":".join([*left, "@SECLEVEL=0"])):
        agreed.add(name)
        left.remove(name)
    assert agreed == GOOD[kind]
    assert len(left) > 50


def test_tls_1_3_knows_the_guidelines_suites_and_no_other(served: tuple[str, LocalEdge]) -> None:
    _, edge = served
    assert {name for name in ALL_1_3 if suite(edge, "-tls1_3", "-ciphersuites", name)} == GOOD_1_3


def test_the_client_chooses_among_the_suites(served: tuple[str, LocalEdge]) -> None:
    kind, edge = served
    names = sorted(GOOD[kind])
    for wanted in (names, names[::-1]):
        assert suite(edge, "-tls1_2", "-cipher", ":".join(wanted)) == wanted[0]


def test_only_the_guidelines_groups_are_agreed_on(served: tuple[str, LocalEdge]) -> None:
    _, edge = served
    groups = ("X25519", "P-256", "P-384", "P-521", "X448", "ffdhe2048")
    agreed = {group for group in groups if suite(edge, "-tls1_3", "-groups", group)}
    assert agreed == {"X25519", "P-256", "P-384"}


def test_no_session_ticket_is_given_to_a_client_of_tls_1_2(served: tuple[str, LocalEdge]) -> None:
    _, edge = served
    assert suite(edge, "-tls1_2") is not None
    assert "TLS session ticket" not in client(edge, "-tls1_2")


def test_http_1_1_is_all_that_is_spoken(edge: LocalEdge) -> None:
    """Twilio needs nothing more. HTTP/2 would mostly help strangers, whose streams and resets cost the server more
    than them."""
    for option, version in (("--http2", "1.1"), ("--http1.1", "1.1")):
        argv = ["curl", "--silent", "--show-error", "--noproxy", "*", option, "--cacert", str(edge.ca_file)]
        argv += ["--connect-to", f"::{LOOPBACK}:{edge.https_port}", "--write-out", "\n%{http_version} %{http_code}"]
        done = subprocess.run(
            [*argv, f"https://{edge.domain}/"], capture_output=True, text=True, timeout=20, check=True
        )
        assert done.stdout.splitlines()[-1] == f"{version} 200"


def test_no_answer_tells_a_version(beside: Beside, edge: LocalEdge) -> None:
    [nobody] = free_ports(1)
    with beside(nobody) as down:
        answers = [
            ask(edge, "GET", "/metrics"),
            ask(edge, "GET", "/", host="other.example"),
            ask(edge, "GET", "/", headers={"X-Large": "x" * 40_000}),
            ask(edge, "POST", "/incoming-call", body=b"x" * 100_000),
            ask(edge, "GET", "/a-page", tls=False),
            ask(edge, "GET", "/.well-known/acme-challenge/not-there", tls=False),
            ask(edge, "POST", "/incoming-call", tls=False),
            ask(down, "GET", "/"),
            ask(down, "POST", "/incoming-call"),
        ]
    assert [answer.status for answer in answers] == [404, 421, 400, 413, 301, 404, 403, 502, 200]
    for answer in answers:
        assert answer.headers["server"] == "nginx"
        assert not {"x-powered-by", "via"} & set(answer.headers)
        assert not re.search(rb"(?i)nginx/|openssl|hypercorn|quart|python", answer.body)


def test_bytes_that_are_no_request_are_told_no_version(edge: LocalEdge) -> None:
    for start in (b"\x16\x03\x01\x00\x05hello", b"HELLO\r\n\r\n"):
        with socket.create_connection((LOOPBACK, edge.http_port), timeout=20) as plain:
            plain.sendall(start)
            plain.shutdown(socket.SHUT_WR)
            assert b"nginx/" not in plain.makefile("rb").read()
