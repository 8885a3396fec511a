"""Limits: Twilio's traffic never reaches them, even at its busiest; anyone who asks faster, or for other things, does.

All requests here come from one address, as Twilio's come from a few. No test depends on the speed of this machine:
requests that must be refused are sent at once, and are a multiple of what is allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import resource
import selectors
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import aiohttp
import pytest
from callgate.core.gate.signature import edge_proof
from demo.local_edge import LOOPBACK, LocalEdge
from support.edge.backends import Backend
from support.edge.probes import SIGNED, TIMEOUT, open_stream

CALLS = ["/incoming-call", "/call-interrupted", "/call-transferred"]
EVENTS = ["/call-status", "/stream-status", "/amd-status"]
STREAM = "/media-stream/a-token"
KEY = "the-edges-key"
PROOF = edge_proof(KEY)
MANY_CALLS = 100
WEBHOOKS_A_CALL = 5
FLOOD = 500
SAYS_NOTHING = 4.0  # seconds: nginx ends a connection that sends no request for 5 s
TRIES = 5
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}

Beside = Callable[..., AbstractContextManager[LocalEdge]]


@dataclass(frozen=True, slots=True)
class Got:
    """The answer to a request."""

    status: int
    kind: str
    body: str

    @property
    def is_wait(self) -> bool:
        """Whether Twilio is told to ask again."""
        return (self.status, self.kind) == (200, "text/xml") and "<Redirect" in self.body


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def client_of(edge: LocalEdge) -> aiohttp.ClientSession:
    """Return a client that sends everything to the edge, verifies its certificate, and opens any number of sockets."""

    class Resolver(aiohttp.abc.AbstractResolver):
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[aiohttp.abc.ResolveResult]:
            return [{"hostname": host, "host": LOOPBACK, "port": port, "family": family, "proto": 0, "flags": 0}]

        async def close(self) -> None:
            pass

    trust = ssl.create_default_context(cafile=edge.ca_file)
    connector = aiohttp.TCPConnector(limit=0, ssl=trust, resolver=Resolver())
    return aiohttp.ClientSession(
        f"https://{edge.domain}:{edge.https_port}",
        connector=connector,
        timeout=aiohttp.ClientTimeout(60),
        headers={"Host": edge.domain, **SIGNED},
    )


def request_of(edge: LocalEdge, method: str, path: str, headers: dict[str, str]) -> bytes:
    fields = {"Host": edge.domain, "Content-Length": "0", **SIGNED, **headers}
    return "".join([f"{method} {path} HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in fields.items()), "\r\n"]).encode()


def at_once(edge: LocalEdge, method: str, path: str, count: int, **headers: str) -> list[Got]:
    """Send ``count`` requests at the same instant, each on its own connection, and return the answers."""
    request = request_of(edge, method, path, {"Connection": "close", **headers})
    for _ in range(TRIES):
        with ExitStack() as kept, ThreadPoolExecutor() as opening:
            began = time.monotonic()
            opened = opening.map(lambda _: kept.enter_context(edge.connect(timeout=TIMEOUT)), range(count))
            clients = list(opened)
            if time.monotonic() - began > SAYS_NOTHING:  # the machine is busy: nginx has ended the first ones
                continue
            for client in clients:
                client.sendall(request)
            return [read(client.makefile("rb").read()) for client in clients]
    raise AssertionError(f"{count} connections could not be opened within {SAYS_NOTHING:.0f} s")


def in_one_go(edge: LocalEdge, method: str, path: str, count: int, **headers: str) -> list[Got]:
    """Send ``count`` requests one after another on one connection, and return the answers. They must fit into the
    system's buffers."""
    requests = request_of(edge, method, path, headers) * (count - 1)
    with edge.connect(timeout=TIMEOUT) as client:
        client.sendall(requests + request_of(edge, method, path, {"Connection": "close", **headers}))
        text = client.makefile("rb").read()
    return [read(b"HTTP/1.1 " + answer) for answer in text.split(b"HTTP/1.1 ")[1:]]


def read(text: bytes) -> Got:
    head, _, body = text.partition(b"\r\n\r\n")
    kind = re.search(rb"(?i)\r\ncontent-type: ([^;\r]*)", head)
    return Got(int(head.split()[1]), kind[1].decode() if kind else "", body.decode())


def statuses(got: list[Got]) -> Counter[int]:
    return Counter(each.status for each in got)


async def test_a_hundred_calls_set_up_in_the_same_instant_and_all_their_webhooks_meet_no_limit(
    beside: Beside, backend: Backend
) -> None:
    with beside(backend.port) as edge:
        async with client_of(edge) as client:
            webhooks = [CALLS[0], *EVENTS, CALLS[1]]

            async def post(path: str) -> int:
                async with client.post(path, data={"CallSid": "CA00"}) as answer:
                    assert "Redirect" not in await answer.text()
                    return answer.status

            async def call(number: int, everybody_is_there: asyncio.Barrier) -> set[int]:
                found = {await post(webhooks[n]) for n in range(WEBHOOKS_A_CALL)}
                async with client.ws_connect(f"/media-stream/token-{number}") as stream:
                    await everybody_is_there.wait()
                    await stream.receive_json()
                    await stream.send_str("still there")
                    assert await stream.receive_str() == "still there"
                return found

            everybody_is_there = asyncio.Barrier(MANY_CALLS)
            async with asyncio.timeout(60):
                found = await asyncio.gather(*(call(number, everybody_is_there) for number in range(MANY_CALLS)))
    assert set().union(*found) == {200}


@pytest.mark.parametrize(("path", "count"), [(CALLS[0], 200), (EVENTS[0], 300), (f"{CALLS[1]}?proof={PROOF}", 300)])
def test_hundreds_of_webhooks_in_one_instant_wait_for_their_turn(
    beside: Beside, backend: Backend, path: str, count: int
) -> None:
    with beside(backend.port, EDGE_KEY=KEY) as edge:
        got = at_once(edge, "POST", path, count)
    assert statuses(got) == {200: count}
    assert not any(each.is_wait for each in got)


@pytest.mark.parametrize("path", CALLS)
def test_more_callers_than_can_be_served_are_asked_to_wait_and_none_is_turned_away(
    beside: Beside, backend: Backend, path: str
) -> None:
    with beside(backend.port) as edge:
        got = at_once(edge, "POST", path, FLOOD)
    assert statuses(got) == {200: FLOOD}
    assert any(each.is_wait for each in got)


@pytest.mark.parametrize("path", [*EVENTS, STREAM])
def test_a_flood_of_what_nobody_waits_for_is_told_that_it_is_too_much(beside: Beside, nobody: int, path: str) -> None:
    with beside(nobody) as edge:
        got = at_once(edge, "GET", path, FLOOD, **(UPGRADE if path == STREAM else {}))
    refused = [each for each in got if each.status == 429]
    assert 0 < len(refused) < FLOOD
    assert {(each.kind, each.body) for each in refused} == {
        ("text/plain", "Too many requests from this address: wait a second, and ask less often.\n")
    }


def test_a_stranger_uses_up_nothing_of_what_shows_the_proof(beside: Beside, backend: Backend) -> None:
    """Not even from the same address."""
    with beside(backend.port, EDGE_KEY=KEY) as edge, ExitStack() as kept:
        clients = [kept.enter_context(edge.connect(timeout=TIMEOUT)) for _ in range(FLOOD)]
        for number, client in enumerate(clients):
            path, headers = (STREAM, UPGRADE) if number % 2 else (CALLS[0], {})
            client.sendall(request_of(edge, "GET", path, headers))
        for _ in range(20):
            assert not in_one_go(edge, "POST", f"{CALLS[0]}?proof={PROOF}", 1)[0].is_wait
            with open_stream(edge, f"/media-stream/{PROOF}/a-token") as stream:
                stream.recv()


def test_what_carries_no_signature_counts_for_nothing(beside: Beside, backend: Backend) -> None:
    with beside(backend.port) as edge:
        for path in (*CALLS, *EVENTS, STREAM):
            refused = in_one_go(edge, "GET", path, FLOOD, **{"X-Twilio-Signature": "not one"})
            assert statuses(refused) == {403: FLOOD}
        for path in CALLS:
            assert not any(each.is_wait for each in in_one_go(edge, "POST", path, 10))


def test_a_flood_of_one_kind_leaves_the_others_free(beside: Beside, backend: Backend) -> None:
    with beside(backend.port) as edge:
        assert statuses(in_one_go(edge, "GET", "/", 200))[429] > 0
        assert statuses(at_once(edge, "POST", EVENTS[0], FLOOD))[429] > 0
        assert not any(each.is_wait for each in at_once(edge, "POST", CALLS[0], 50))


@pytest.mark.parametrize("path", ["/", "/test-call-realtime", "/wp-login.php", "/incoming-call/", "/call-status/x"])
def test_everything_else_is_limited_to_what_people_do(beside: Beside, backend: Backend, path: str) -> None:
    with beside(backend.port) as edge:
        found = statuses(in_one_go(edge, "GET", path, 200))
    assert 20 < found[200] < 100
    assert set(found) == {200, 429}


def test_a_page_asked_for_now_and_then_meets_no_limit(beside: Beside, backend: Backend) -> None:
    with beside(backend.port) as edge:
        assert statuses(in_one_go(edge, "GET", "/", 20)) == {200: 20}


def test_few_requests_of_an_address_may_be_open_at_one_time(beside: Beside, silent: int) -> None:
    with beside(silent) as edge, ExitStack() as kept:
        refused = refusals([open_request(edge, "/", kept) for _ in range(21)])
    assert refused == 1


def test_a_thousand_streams_of_an_address_may_be_open_at_one_time_and_no_more(
    beside: Beside, silent: int, many_files: None
) -> None:
    with beside(silent, EDGE_KEY=KEY) as edge, ExitStack() as kept:
        refused = refusals([open_request(edge, f"/media-stream/{PROOF}/a-token", kept) for _ in range(1100)])
    assert refused == 100


def open_request(edge: LocalEdge, path: str, kept: ExitStack, headers: dict[str, str] = UPGRADE) -> ssl.SSLSocket:
    client = kept.enter_context(edge.connect(timeout=TIMEOUT))
    client.sendall(request_of(edge, "GET", path, headers))
    return client


def refusals(opened: list[ssl.SSLSocket]) -> int:
    """Return how many were answered 429. The others get no answer at all, and a refusal is immediate."""
    with selectors.DefaultSelector() as selector:
        for client in opened:
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ, client)
        refused = 0
        while ready := selector.select(timeout=1.0 if refused else TIMEOUT):
            for key, _ in ready:
                with contextlib.suppress(ssl.SSLWantReadError):  # TLS 1.3 sends messages after the handshake too
                    assert key.data.recv(1000).startswith(b"HTTP/1.1 429 ")
                    selector.unregister(key.data)
                    refused += 1
        return refused


@pytest.fixture
def many_files() -> Iterator[None]:
    """Raise the limit of open files as far as this process may."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


# Bodies that arrive slowly.


def slow_body(edge: LocalEdge, target: str, kept: ExitStack, headers: str = "") -> ssl.SSLSocket:
    """Send a request whose body never arrives."""
    client = kept.enter_context(edge.connect(timeout=TIMEOUT))
    signature = "".join(f"{name}: {value}\r\n" for name, value in SIGNED.items())
    head = f"POST {target} HTTP/1.1\r\nHost: {edge.domain}\r\nContent-Length: 60000\r\n"
    client.sendall(f"{head}{headers or signature}\r\n".encode())
    return client


async def test_a_body_of_a_stranger_has_the_time_that_the_backend_gives_it(beside: Beside, nobody: int) -> None:
    """Bytes arrive now and then, which nginx's own limit between two reads would allow for hours."""

    async def at_deadline(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        came.set()
        await reader.readexactly(3)
        writer.write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    came = asyncio.Event()
    server = await asyncio.start_server(at_deadline, LOOPBACK, 0)
    async with server:
        with beside(server.sockets[0].getsockname()[1]) as edge, ExitStack() as kept:
            for path in (CALLS[0], EVENTS[0], "/calls"):
                came.clear()
                client = await asyncio.to_thread(slow_body, edge, path, kept)
                await asyncio.wait_for(came.wait(), TIMEOUT)  # the backend sees the request before its body has arrived
                for byte in (b"a", b"=", b"1"):
                    await asyncio.to_thread(client.sendall, byte)
                assert (await asyncio.to_thread(client.recv, 100)).startswith(b"HTTP/1.1 408 ")


def test_of_one_address_a_bounded_number_of_bodies_is_waited_for(beside: Beside, silent: int) -> None:
    with beside(silent) as edge, ExitStack() as kept:
        opened = [slow_body(edge, EVENTS[0], kept) for _ in range(450)]
        assert refusals(opened) >= 50


def test_who_shows_no_signature_is_answered_without_its_body_and_let_go(beside: Beside, backend: Backend) -> None:
    with beside(backend.port) as edge, ExitStack() as kept:
        for path in (*CALLS, *EVENTS):
            client = slow_body(edge, path, kept, "X-Twilio-Signature: none\r\n")
            text = client.makefile("rb").read()  # until the end
            assert text.startswith(b"HTTP/1.1 403 ")


# What counts as one client.


def from_each(edge: LocalEdge, path: str, clients: list[str]) -> Counter[int]:
    """Send a request of each client, as a trusted proxy passes it on, on one connection, and count the answers."""
    requests = [request_of(edge, "GET", path, {"X-Forwarded-For": client}) for client in clients]
    last = request_of(edge, "GET", "/metrics", {"Connection": "close"})
    with edge.connect(timeout=TIMEOUT) as client:
        client.sendall(b"".join([*requests, last]))
        text = client.makefile("rb").read()
    return Counter(int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", text)[:-1])


def test_a_network_of_ipv6_is_one_client(beside: Beside, backend: Backend) -> None:
    """Whoever has one address of a /64 has all of them."""
    with beside(backend.port, TRUSTED_PROXIES=LOOPBACK) as edge:
        within = [f"2001:db8:0:1:{number:x}::{number:x}" for number in range(100)]
        assert from_each(edge, "/", within)[429] > 0
        assert from_each(edge, "/", ["2001:db8:0:1:ffff:ffff:a0a:a0a"]) == {429: 1}
        assert from_each(edge, "/", ["2001:db8:0:2::1"] * 20) == {200: 20}


@pytest.mark.parametrize("form", ["192.0.2.{}", "::ffff:192.0.2.{}", "64:ff9b::192.0.2.{}", "2001:db8:0:{}::1"])
def test_clients_that_have_nothing_in_common_are_counted_separately(
    beside: Beside, backend: Backend, form: str
) -> None:
    with beside(backend.port, TRUSTED_PROXIES=LOOPBACK) as edge:
        assert from_each(edge, "/", [form.format(number) for number in range(1, 101)]) == {200: 100}


def test_an_ipv4_address_in_ipv6_form_is_the_same_client(beside: Beside, backend: Backend) -> None:
    with beside(backend.port, TRUSTED_PROXIES=LOOPBACK) as edge:
        assert from_each(edge, "/", ["192.0.2.1"] * 100)[429] > 0
        assert from_each(edge, "/", ["::ffff:192.0.2.1", "64:ff9b::192.0.2.1"]) == {429: 2}


def test_a_thousand_streams_of_an_ipv6_network_may_be_open_at_one_time_and_no_more(
    beside: Beside, silent: int, many_files: None
) -> None:
    with beside(silent, EDGE_KEY=KEY, TRUSTED_PROXIES=LOOPBACK) as edge, ExitStack() as kept:
        opened = []
        for number in range(1100):
            headers = {**UPGRADE, "X-Forwarded-For": f"2001:db8:0:1::{number:x}"}
            opened.append(open_request(edge, f"/media-stream/{PROOF}/a-token", kept, headers))
        assert refusals(opened) == 100


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_a_client_of_ipv6_is_counted_without_a_proxy_too(beside: Beside, backend: Backend) -> None:
    with beside(backend.port, EDGE_LISTEN=f"{LOOPBACK} [::1]") as edge:
        trust = ssl.create_default_context(cafile=edge.ca_file)
        plain = socket.create_connection(("::1", edge.https_port), TIMEOUT)
        with trust.wrap_socket(plain, server_hostname=edge.domain) as client:
            client.sendall(
                request_of(edge, "GET", "/", {}) * 99 + request_of(edge, "GET", "/", {"Connection": "close"})
            )
            text = client.makefile("rb").read()
        assert b"HTTP/1.1 429 " in text
        assert statuses(in_one_go(edge, "GET", "/", 10)) == {200: 10}
