"""nginx behind a proxy: who the client is, for the limits, the log and the backend, whatever a stranger claims."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

import pytest
from demo.local_edge import LOOPBACK, LocalEdge, free_ports
from support.edge.backends import Backend
from support.edge.probes import SIGNED, TIMEOUT, handshake, wait_for

CLIENT, OTHER = "203.0.113.7", "198.51.100.9"
CLIENT_6 = "2001:db8:7::7"
TRUSTED = f"{LOOPBACK},10.0.0.0/8 2001:db8:ffff::/48"
PROXY_2 = b"\r\n\r\n\x00\r\nQUIT\n"
MANY = 100

Beside = Callable[..., AbstractContextManager[LocalEdge]]


def request(edge: LocalEdge, path: str = "/", **headers: str) -> bytes:
    fields = {"Host": edge.domain, "Connection": "close", **SIGNED, **headers}
    return "".join([f"GET {path} HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in fields.items()), "\r\n"]).encode()


@contextlib.contextmanager
def connected(
    edge: LocalEdge, before: bytes = b"", *, tls: bool = True, port: int | None = None
) -> Iterator[socket.socket]:
    """Open a connection that begins with ``before``, and is encrypted from then on, or not."""
    port = port or (edge.https_port if tls else edge.http_port)
    with socket.create_connection((LOOPBACK, port), timeout=TIMEOUT) as plain:
        plain.sendall(before)
        if not tls:
            yield plain
            return
        trust = ssl.create_default_context(cafile=edge.ca_file)
        with trust.wrap_socket(plain, server_hostname=edge.domain) as client:
            yield client


def exchange(edge: LocalEdge, sent: bytes, *, before: bytes = b"", tls: bool = True, port: int | None = None) -> bytes:
    """Send requests on one connection, and return all that comes back."""
    with connected(edge, before, tls=tls, port=port) as client:
        client.sendall(sent)
        return client.makefile("rb").read()


def client_told(
    edge: LocalEdge, headers: Mapping[str, str] | None = None, *, before: bytes = b"", port: int | None = None
) -> str:
    """Return the client's address as the backend is told it, which is also the one in the access log."""
    head, _, body = exchange(edge, request(edge, **(headers or {})), before=before, port=port).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), head
    told = json.loads(body)["headers"]
    wait_for(lambda: told["X-Request-ID"] in edge.access_log.read_text())
    lines = [json.loads(line) for line in edge.access_log.read_text().splitlines()]
    [logged] = [line["client"] for line in lines if line["request_id"] == told["X-Request-ID"]]
    assert logged == told["X-Forwarded-For"]
    return str(logged)


def flood(edge: LocalEdge, *forwarded: str, before: bytes = b"") -> Counter[int]:
    """Send one request with each X-Forwarded-For on one connection, and count the answers."""
    kept = [request(edge, **{"X-Forwarded-For": each, "Connection": "keep-alive"}) for each in forwarded[:-1]]
    answers = exchange(edge, b"".join([*kept, request(edge, **{"X-Forwarded-For": forwarded[-1]})]), before=before)
    return Counter(int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", answers))


@pytest.fixture
def trusting(beside: Beside, backend: Backend) -> Iterator[LocalEdge]:
    """Yield an edge that takes this machine for its proxy."""
    with beside(backend.port, TRUSTED_PROXIES=TRUSTED) as edge:
        yield edge


# X-Forwarded-For.


@pytest.mark.parametrize(
    ("forwarded", "client"),
    [
        (CLIENT, CLIENT),
        (CLIENT_6, CLIENT_6),
        (f"{CLIENT}:4711", CLIENT),
        # Two and three proxies, one after another.
        (f"{CLIENT}, 10.1.2.3", CLIENT),
        (f"{CLIENT_6},10.1.2.3 , 2001:db8:ffff::1", CLIENT_6),
        # What the client itself sent, to which its proxy appended the client's address.
        (f"{OTHER}, {CLIENT}", CLIENT),
        (f"{OTHER}, {CLIENT}, 10.1.2.3", CLIENT),
        (f"10.1.2.3, {CLIENT}", CLIENT),
        (f"{LOOPBACK}, {CLIENT}", CLIENT),
        (f"nonsense, {CLIENT}", CLIENT),
        (f"{OTHER}, nonsense, {CLIENT}, 10.1.2.3", CLIENT),
        # A proxy that sends nothing, or nothing of use.
        ("", LOOPBACK),
        ("unknown", LOOPBACK),
        ("10.1.2.3", "10.1.2.3"),
    ],
)
def test_client_is_the_last_address_that_is_no_proxys(trusting: LocalEdge, forwarded: str, client: str) -> None:
    assert client_told(trusting, {"X-Forwarded-For": forwarded}) == client


def test_headers_on_several_lines_are_one_chain(trusting: LocalEdge) -> None:
    chain = f"{OTHER}\r\nX-Forwarded-For: {CLIENT}\r\nX-Forwarded-For: 10.1.2.3"
    assert client_told(trusting, {"X-Forwarded-For": chain}) == CLIENT


@pytest.mark.parametrize("trusted", ["", "10.0.0.0/8", "127.0.0.2", "2001:db8::/32,::1"])
@pytest.mark.parametrize("forwarded", [CLIENT, f"{CLIENT}, 10.1.2.3", LOOPBACK, "127.0.0.2"])
def test_what_a_stranger_claims_changes_nothing(beside: Beside, backend: Backend, trusted: str, forwarded: str) -> None:
    claims = {"X-Forwarded-For": forwarded, "X-Real-IP": forwarded, "Forwarded": f"for={forwarded}"}
    with beside(backend.port, TRUSTED_PROXIES=trusted) as edge:
        assert client_told(edge, claims) == LOOPBACK


def test_clients_behind_one_proxy_have_limits_of_their_own(trusting: LocalEdge) -> None:
    assert flood(trusting, *[f"{CLIENT}, 10.1.2.3"] * MANY)[429] > 0
    assert flood(trusting, *[f"{OTHER}, 10.1.2.3"] * 10) == {200: 10}
    assert flood(trusting, *[f"192.0.2.{number}" for number in range(MANY)]) == {200: MANY}


def test_a_stranger_gets_no_new_limits_with_invented_addresses(trusting: LocalEdge) -> None:
    assert flood(trusting, *[f"192.0.2.{number}, {CLIENT}" for number in range(MANY)])[429] > 0


def test_what_claims_to_be_the_health_check_is_logged_if_a_proxy_passed_it_on(trusting: LocalEdge) -> None:
    headers = {"User-Agent": "callgate-health", "X-Forwarded-For": LOOPBACK}
    assert client_told(trusting, headers) == LOOPBACK


# The PROXY protocol (https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt).


def version_1(client: str) -> bytes:
    family, ours = ("TCP6", "::1") if ":" in client else ("TCP4", LOOPBACK)
    return f"PROXY {family} {client} {ours} 4711 443\r\n".encode()


def version_2(client: str) -> bytes:
    family, ours, kind = (socket.AF_INET6, "::1", 0x21) if ":" in client else (socket.AF_INET, LOOPBACK, 0x11)
    addresses = socket.inet_pton(family, client) + socket.inet_pton(family, ours) + struct.pack("!HH", 4711, 443)
    return PROXY_2 + struct.pack("!BBH", 0x21, kind, len(addresses)) + addresses


@pytest.fixture
def proxied(beside: Beside, backend: Backend) -> Iterator[LocalEdge]:
    """Yield an edge that takes this machine for its load balancer."""
    with beside(backend.port, TRUSTED_PROXIES=TRUSTED, EDGE_PROXY_PROTOCOL="on") as edge:
        yield edge


@pytest.mark.parametrize("version", [version_1, version_2])
@pytest.mark.parametrize("client", [CLIENT, CLIENT_6])
def test_client_is_who_the_proxy_protocol_says(
    proxied: LocalEdge, version: Callable[[str], bytes], client: str
) -> None:
    assert client_told(proxied, {"X-Forwarded-For": OTHER}, before=version(client)) == client
    assert b" 301 " in exchange(proxied, request(proxied), before=version(client), tls=False)


@pytest.mark.parametrize("before", [b"PROXY UNKNOWN\r\n", PROXY_2 + b"\x20\x00\x00\x00"])
def test_a_load_balancer_that_asks_for_itself_is_the_client(proxied: LocalEdge, before: bytes) -> None:
    assert client_told(proxied, before=before) == LOOPBACK


def test_a_connection_that_begins_otherwise_is_closed_without_an_answer(proxied: LocalEdge) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        exchange(proxied, request(proxied))
    for before in (b"", b"PROXY TCP4 nonsense\r\n", PROXY_2 + b"\x99\x00\x00\x00"):
        with contextlib.suppress(ConnectionResetError):  # it may be closed before everything was read
            assert exchange(proxied, request(proxied), before=before, tls=False) == b""


@pytest.mark.parametrize("encrypted_port", [True, False])
def test_no_token_of_a_connection_that_was_closed_reaches_a_log(proxied: LocalEdge, encrypted_port: bool) -> None:
    """Sent in the clear, by somebody who went around the load balancer."""
    port = proxied.https_port if encrypted_port else proxied.http_port
    with contextlib.suppress(ConnectionResetError):
        exchange(proxied, request(proxied, "/media-stream/a-secret-token"), tls=False, port=port)
    client_told(proxied, before=version_1(CLIENT))  # by now it has written what it had to say
    assert "a-secret-token" not in proxied.access_log.read_text() + proxied.error_log.read_text()


def test_what_a_stranger_claims_in_the_proxy_protocol_changes_nothing(beside: Beside, backend: Backend) -> None:
    with beside(backend.port, TRUSTED_PROXIES="10.0.0.0/8", EDGE_PROXY_PROTOCOL="on") as edge:
        for version in (version_1, version_2):
            assert client_told(edge, before=version(CLIENT)) == LOOPBACK
        with contextlib.ExitStack() as kept:
            claims = [version_1(f"192.0.2.{number}") for number in range(MANY)]
            clients = [kept.enter_context(connected(edge, claim)) for claim in claims]
            for client in clients:
                client.sendall(request(edge))
            first_lines = [client.makefile("rb").readline() for client in clients]
        assert b"HTTP/1.1 429 Too Many Requests\r\n" in first_lines


def test_clients_behind_a_load_balancer_have_limits_of_their_own(proxied: LocalEdge) -> None:
    assert flood(proxied, *[""] * MANY, before=version_1(CLIENT))[429] > 0
    assert flood(proxied, *[""] * 10, before=version_2(OTHER)) == {200: 10}


def test_programs_beside_it_have_a_port_without_the_proxy_protocol(beside: Beside, backend: Backend) -> None:
    [port] = free_ports(1)
    settings = {"TRUSTED_PROXIES": "10.0.0.0/8", "EDGE_PROXY_PROTOCOL": "on", "EDGE_INNER_PORT": str(port)}
    with beside(backend.port, **settings) as edge:
        assert client_told(edge, port=port) == LOOPBACK
        assert client_told(edge, before=version_1(CLIENT)) == LOOPBACK
        edge.https_port = port
        with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
            handshake(edge, "other.example")
