"""Limits: Twilio's traffic never meets them, not at its busiest; whoever asks faster than that, or asks for else, does.

Everything here comes from one address, as Twilio's comes from a few. No test depends on how fast this machine is: what
is to be refused comes in one go, and is a multiple of what is allowed.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import selectors
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack

import aiohttp
import pytest
from edge.backends import Backend
from edge.probes import TIMEOUT, ask
from local_edge import LOOPBACK, LocalEdge

WEBHOOKS = ["/incoming-call", "/call-interrupted", "/call-transferred", "/call-status", "/stream-status", "/amd-status"]
CALLS = 100
WEBHOOKS_A_CALL = 5
AT_ONCE = 300  # requests written before the first answer is read: they all fit into the system's buffers
FLOOD = 6000

Beside = Callable[..., AbstractContextManager[LocalEdge]]


def answers(edge: LocalEdge, method: str, path: str, count: int) -> list[bytes]:
    """Send requests as fast as they can be written; return the answers, each from its status on."""
    request = f"{method} {path} HTTP/1.1\r\nHost: {edge.domain}\r\nContent-Length: 0\r\n".encode()
    found: list[bytes] = []
    while len(found) < count:
        many = min(AT_ONCE, count - len(found))
        with edge.connect(timeout=TIMEOUT) as client:
            client.sendall((request + b"\r\n") * (many - 1) + request + b"Connection: close\r\n\r\n")
            text = client.makefile("rb").read()
        assert text.count(b"HTTP/1.1 ") == many
        found += text.split(b"HTTP/1.1 ")[1:]
    return found


def statuses(edge: LocalEdge, method: str, path: str, count: int) -> Counter[int]:
    """Send requests as fast as they can be written; return how often each status was the answer."""
    return Counter(int(answer[:3]) for answer in answers(edge, method, path, count))


def client_of(edge: LocalEdge) -> aiohttp.ClientSession:
    """A client that sends everything to the edge, whose name and certificate it checks; as many sockets as it likes."""

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
        f"https://{edge.domain}:{edge.https_port}", connector=connector, timeout=aiohttp.ClientTimeout(60)
    )


async def test_a_hundred_calls_set_up_in_the_same_instant_and_all_their_webhooks_meet_no_limit(
    beside: Beside, backend: Backend
) -> None:
    with beside(backend.port) as edge:
        async with client_of(edge) as client:

            async def post(path: str) -> int:
                async with client.post(path, data={"CallSid": "CA00"}, headers={"Host": edge.domain}) as answer:
                    return answer.status

            async def call(number: int, everybody_is_there: asyncio.Barrier) -> set[int]:
                paths = [WEBHOOKS[n % len(WEBHOOKS)] for n in range(WEBHOOKS_A_CALL)]
                found = {await post(path) for path in paths}
                headers = {"Host": edge.domain}
                async with client.ws_connect(f"/media-stream/token-{number}", headers=headers) as stream:
                    await everybody_is_there.wait()
                    await stream.receive_json()
                    await stream.send_str("still there")
                    assert await stream.receive_str() == "still there"
                return found

            everybody_is_there = asyncio.Barrier(CALLS)
            async with asyncio.timeout(60):
                found = await asyncio.gather(*(call(number, everybody_is_there) for number in range(CALLS)))
    assert set().union(*found) == {200}


@pytest.mark.parametrize("path", WEBHOOKS)
def test_five_hundred_webhooks_in_one_go_meet_no_limit(beside: Beside, nobody: int, path: str) -> None:
    with beside(nobody) as edge:
        assert 429 not in statuses(edge, "POST", path, 500)


def test_fifty_webhooks_a_second_meet_no_limit_not_even_behind_a_flood(beside: Beside, nobody: int) -> None:
    with beside(nobody) as edge:
        assert statuses(edge, "POST", "/incoming-call", FLOOD)[429] > 0
        for _ in range(50):
            time.sleep(1 / 50)
            assert ask(edge, "POST", "/incoming-call").status == 200


@pytest.mark.parametrize("path", [*WEBHOOKS, "/media-stream/a-token"])
def test_a_flood_of_what_twilio_asks_for_is_told_that_it_is_too_much(beside: Beside, nobody: int, path: str) -> None:
    with beside(nobody) as edge:
        refused = [answer for answer in answers(edge, "GET", path, FLOOD) if answer.startswith(b"429 ")]
    assert 0 < len(refused) <= FLOOD - 600
    for answer in refused:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"\r\nContent-Type: text/plain\r\n" in head
        assert b"\r\nStrict-Transport-Security: " in head
        assert body == b"Too many requests from this address: wait a second, and ask less often.\n"


def test_a_flood_of_one_kind_leaves_the_others_free(beside: Beside, nobody: int) -> None:
    with beside(nobody) as edge:
        assert statuses(edge, "GET", "/", 200)[429] > 0
        assert statuses(edge, "GET", "/media-stream", FLOOD)[429] > 0
        assert set(statuses(edge, "POST", "/incoming-call", 500)) == {200}


@pytest.mark.parametrize("path", ["/", "/test-call-realtime", "/wp-login.php", "/incoming-call/", "/call-status/x"])
def test_everything_else_is_limited_to_what_people_do(beside: Beside, backend: Backend, path: str) -> None:
    with beside(backend.port) as edge:
        found = statuses(edge, "GET", path, 200)
    assert 20 < found[200] < 100
    assert set(found) == {200, 429}


def test_a_page_asked_for_now_and_then_meets_no_limit(beside: Beside, backend: Backend) -> None:
    with beside(backend.port) as edge:
        assert set(statuses(edge, "GET", "/", 20)) == {200}


def test_few_requests_of_an_address_may_be_open_at_one_time(beside: Beside, silent: int) -> None:
    with beside(silent) as edge, ExitStack() as kept:
        refused = refusals([open_request(edge, "/", kept) for _ in range(21)])
    assert refused == 1


def test_a_thousand_streams_of_an_address_may_be_open_at_one_time_and_no_more(
    beside: Beside, silent: int, many_files: None
) -> None:
    with beside(silent) as edge, ExitStack() as kept:
        opened = [open_request(edge, "/media-stream/a-token", kept) for _ in range(1100)]
        refused = refusals(opened)
    # Where they were opened within two seconds, some have met the limit of how often.
    assert 100 <= refused <= 500


def open_request(edge: LocalEdge, path: str, kept: ExitStack) -> ssl.SSLSocket:
    client = kept.enter_context(edge.connect(timeout=TIMEOUT))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: {edge.domain}\r\n\r\n".encode())
    return client


def refusals(opened: list[ssl.SSLSocket]) -> int:
    """How many were answered 429. None else is answered at all, and a refusal does not wait."""
    with selectors.DefaultSelector() as selector:
        for client in opened:
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ, client)
        refused = 0
        while ready := selector.select(timeout=1.0 if refused else TIMEOUT):
            for key, _ in ready:
                with contextlib.suppress(ssl.SSLWantReadError):  # TLS 1.3 speaks after the handshake too
                    assert key.data.recv(1000).startswith(b"HTTP/1.1 429 ")
                    selector.unregister(key.data)
                    refused += 1
        return refused


@pytest.fixture
def many_files() -> Iterator[None]:
    """As many open files as this process may have."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
