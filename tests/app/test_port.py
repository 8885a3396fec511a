"""The backend's own port from a stranger's view: a refusal closes the connection, and only HTTP/1.1 is spoken."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from callgate.web.server import HEADER_LIMIT
from callgate.websocket.on_hypercorn import port as hypercorn_port
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.events import RawData
from support.service import WSS_URL, Service, config_for, running, sign
from support.websocket_probe import DEADLINE, TEXT, Answer, Probe, frame, upgrade_request

HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
HEAD = "{method} {path} HTTP/{version}\r\nHost: voice.example.com\r\n{fields}\r\n"


def upgrades(path: str) -> Iterator[tuple[str, bytes]]:
    """Yield upgrade requests that must be refused."""
    right = upgrade_request(path)
    yield "a websocket", right
    yield "a bad key", upgrade_request(path, sec_websocket_key="x")
    yield "no key", upgrade_request(path, sec_websocket_key=None)
    yield "two keys", upgrade_request(path, sec_websocket_key="eA==\r\nsec-websocket-key: eA==")
    yield "another version", upgrade_request(path, sec_websocket_version="8")
    yield "HTTP/1.0", right.replace(b"HTTP/1.1", b"HTTP/1.0")
    yield "POST", right.replace(b"GET", b"POST")
    yield "HEAD", right.replace(b"GET", b"HEAD")
    yield "a body", upgrade_request(path, content_length="5") + b"hello"
    yield "a chunked body", upgrade_request(path, transfer_encoding="chunked") + b"5\r\nhello\r\n0\r\n\r\n"
    yield "another token", upgrade_request(path, upgrade="foo")
    yield "h2c", upgrade_request(path, upgrade="h2c", connection="Upgrade, HTTP2-Settings", http2_settings="AAMAAABk")
    yield "no Connection", upgrade_request(path, connection=None)
    yield "a request behind it", right + b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    yield "a frame behind it", right + frame(TEXT, b"early")
    yield "it twice", right + right


KINDS = [kind for kind, _ in upgrades("/")]


def asked(address: str, request: bytes) -> tuple[Answer, bytes]:
    """Return the head of the answer, and everything after it until the connection ends."""
    host, port = address.split(":")
    with Probe((host, int(port))) as probe:
        answer = probe.ask(request)
        rest = probe.unread
        with contextlib.suppress(ConnectionResetError):
            while data := probe.socket.recv(65536):
                rest += data
        return answer, rest


@pytest.fixture(autouse=True)
def no_traceback(log) -> Iterator[None]:
    yield
    assert "Traceback" not in log.getvalue(), log.getvalue()
    assert "ERROR" not in log.getvalue(), log.getvalue()


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=() if number in (0, 5) else pytest.mark.whole) for number, kind in enumerate(KINDS)],
)
async def test_an_upgrade_that_is_refused_ends_its_connection_on_every_path(service: Service, kind: str):
    assert service.app is not None
    paths = {
        rule.rule.replace("<token>", "x").replace("<call_sid>", "CA" + "0" * 32).replace("<path:filename>", "x")
        for rule in service.app.url_map.iter_rules()
    }
    assert {"/incoming-call", "/media-stream", "/media-stream/x", "/healthz", "/calls"} <= paths
    for path in [*sorted(paths), "/nowhere", "/%ff", "//"]:
        request = dict(upgrades(path))[kind]
        answer, rest = await asyncio.to_thread(asked, service.address, request)
        assert answer.status == 200 or 400 <= answer.status < 500, (path, answer)
        assert answer.headers.get("connection") == "close", (path, answer)
        assert b"HTTP/1.1 " not in rest, (path, rest)
    assert await service.ask("GET", "/healthz") == (200, "ok\n")


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("kind", KINDS[1:])
async def test_a_signed_upgrade_that_can_not_be_had_is_refused_too(service: Service, kind: str):
    """A request that is Twilio's except for one thing is not partly served."""
    call = await service.call()
    request = dict(upgrades(call.path))[kind]
    signed = request.replace(b"host:", f"x-twilio-signature: {sign(WSS_URL + call.path)}\r\nhost:".encode())
    answer, _ = await asyncio.to_thread(asked, service.address, signed)
    assert 400 <= answer.status < 500, answer
    assert answer.headers.get("connection") == "close", answer


@pytest.mark.usefixtures("both_paths")
async def test_an_upgrade_whose_route_fails_is_answered_500_and_ends(service: Service, log, monkeypatch):
    def fails(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(service.services.switchboard.streams, "check_upgrade", fails)
    answer, _ = await asyncio.to_thread(asked, service.address, upgrade_request("/media-stream"))
    assert (answer.status, answer.headers["connection"]) == (500, "close")
    assert "a fault of ours" in log.getvalue()
    log.seek(0)
    log.truncate()


async def test_a_plain_request_keeps_its_connection(service: Service):
    def twice() -> list[int]:
        host, port = service.address.split(":")
        with Probe((host, int(port))) as probe:
            request = HEAD.format(method="HEAD", path="/healthz", version="1.1", fields="").encode()
            return [probe.ask(request).status, probe.ask(request).status]

    assert await asyncio.to_thread(twice) == [200, 200]


@pytest.mark.usefixtures("both_paths")
async def test_http_2_is_not_spoken(service: Service):
    answer, rest = await asyncio.to_thread(asked, service.address, HTTP2_PREFACE)
    assert (answer.status, answer.headers["connection"], rest) == (505, "close", b"")


@pytest.mark.usefixtures("both_paths")
async def test_an_offer_of_http_2_is_passed_over(service: Service):
    request = dict(upgrades("/healthz"))["h2c"]
    answer, rest = await asyncio.to_thread(asked, service.address, request)
    assert (answer.status, rest) == (200, b"ok\n")


async def test_a_body_whose_length_is_told_in_two_ways_is_refused(service: Service):
    """RFC 9112 §6.1: it may be an attempt at request smuggling."""
    answer, _ = await asyncio.to_thread(asked, service.address, BROKEN["a length and chunks"])
    assert (answer.status, answer.headers["connection"]) == (400, "close")


@pytest.mark.parametrize("version", ["0.9", "1.2", "3.0"])
async def test_another_version_of_http_is_not_spoken(service: Service, version: str):
    request = HEAD.format(method="GET", path="/healthz", version=version, fields="").encode()
    answer, _ = await asyncio.to_thread(asked, service.address, request)
    assert (answer.status, answer.headers["connection"]) == (505, "close")


BROKEN: dict[str, bytes] = {
    "noise": random.Random(1).randbytes(5000),
    "TLS": bytes.fromhex("16030100ea010000e60303") + random.Random(2).randbytes(200),
    "a head too big": b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 2 * HEADER_LIMIT,
    "too many fields": b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * HEADER_LIMIT,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
    "bare CR": b"GET / HTTP/1.1\rHost: x\r\r",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
    "a folded field": b"GET / HTTP/1.1\r\nHost: x\r\n folded\r\nX: y\r\n z\r\n\r\n",
    "two lengths": b"POST /incoming-call HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": b"POST /incoming-call HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks of no size": b"POST /incoming-call HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "chunks of too much": b"POST /incoming-call HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"ffffffffffffffffffffff\r\nx",
    "another encoding": b"POST /incoming-call HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
    "a negative length": b"POST /incoming-call HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "a huge length": b"POST /incoming-call HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n",
    "an address that is no path": b"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n",
    "CONNECT": b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
    "an odd path": b"GET /\xc3\x28%00%0d%0a/../..//?\xff HTTP/1.1\r\nHost: x\r\n\r\n",
    "a field that is no ASCII": b"GET / HTTP/1.1\r\nHost: x\r\nX-Twilio-Signature: \xff\xfe\r\n\r\n",
    "an expectation": b"POST /calls HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\na=b",
    "half a request": b"POST /incoming-call HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\na=b",
}  # fmt: skip
LEAVES: dict[str, Callable[[Probe], None]] = {
    "ends its side": Probe.finish,
    "closes": lambda probe: probe.socket.close(),
    "resets": Probe.reset,
}


@pytest.mark.parametrize("leaves", LEAVES)
async def test_nothing_that_is_sent_gives_a_traceback(service: Service, leaves: str):
    host, port = service.address.split(":")

    def send() -> None:
        for data in [*BROKEN.values(), HTTP2_PREFACE, *(request for _, request in upgrades("/media-stream"))]:
            with Probe((host, int(port))) as probe, contextlib.suppress(OSError):
                probe.send(data)
                LEAVES[leaves](probe)
                if leaves == "ends its side":
                    probe.socket.recv(65536)

    await asyncio.to_thread(send)
    assert await service.ask("GET", "/healthz") == (200, "ok\n")


@pytest.mark.usefixtures("both_paths")
@pytest.mark.parametrize("leaves", LEAVES)
@pytest.mark.whole
async def test_a_peer_may_leave_at_any_moment_of_its_upgrade(service: Service, leaves: str):
    """The upgrade is signed, so it is accepted."""
    host, port = service.address.split(":")
    rng = random.Random(6455)

    def leave(path: str) -> None:
        request = upgrade_request(path, x_twilio_signature=sign(WSS_URL + path)) + frame(TEXT, b"{}") * rng.choice(
            (0, 1)
        )
        with Probe((host, int(port))) as probe, contextlib.suppress(OSError):
            probe.send(request[: rng.choice((20, len(request), len(request)))])
            if rng.random() < 0.5:
                probe.socket.settimeout(rng.choice((0.0001, 0.005)))
                with contextlib.suppress(TimeoutError):
                    probe.socket.recv(1)
            LEAVES[leaves](probe)

    for _ in range(20):
        await asyncio.to_thread(leave, (await service.call()).path)
    assert await service.ask("GET", "/healthz") == (200, "ok\n")


@pytest.fixture
async def crowded(fake, tmp_path, log, monkeypatch) -> AsyncIterator[Service]:
    monkeypatch.setattr("callgate.websocket.on_hypercorn.port.PortConfig.connections", 5)
    monkeypatch.setattr("callgate.web.server.HEAD_DEADLINE", 0.5)
    async with running(config_for(fake.url, tmp_path)) as service:
        yield service


@pytest.mark.parametrize("name", ["Sec-WebSocket-Protocol", "Connection", "Sec-WebSocket-Version", "Sec-WebSocket-Key"])
async def test_an_upgrade_that_is_no_ascii_is_a_bad_request(service: Service, log, name: str):
    host, _, port = service.address.partition(":")
    for value in (b"\xff", b"\xc3\xa9", b"Upgrade, \x80"):
        fields = {
            "Host": b"x",
            "Upgrade": b"websocket",
            "Connection": b"Upgrade",
            "Sec-WebSocket-Key": b"dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": b"13",
        }
        fields[name] = value
        reader, writer = await asyncio.open_connection(host, int(port))
        head = b"".join(key.encode() + b": " + text + b"\r\n" for key, text in fields.items())
        writer.write(b"GET /media-stream/x HTTP/1.1\r\n" + head + b"\r\n")
        assert (await asyncio.wait_for(reader.read(), 10)).startswith(b"HTTP/1.1 400 ")
        writer.close()
    assert "Traceback" not in log.getvalue()


def test_as_many_files_may_be_open_as_connections_are_served(monkeypatch):
    limits = [(1024, 100_000)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, given: limits.append(given))
    assert hypercorn_port.most_connections() == 512
    hypercorn_port.raise_file_limit()
    assert hypercorn_port.most_connections() == hypercorn_port.CONNECTIONS
    hypercorn_port.raise_file_limit()
    assert len(limits) == 2


async def test_what_twilio_asks_for_is_never_redirected(service: Service):
    for path in ("//incoming-call", "/incoming-call/", "//media-stream//x", "/calls//x", "/call-status/"):
        status, _ = await service.ask("POST", path, allow_redirects=False)
        assert status in (403, 404, 405), path


@pytest.mark.parametrize("error", [errno.ENOTCONN, errno.EHOSTUNREACH, errno.ECONNRESET, errno.ETIMEDOUT])
@pytest.mark.parametrize("where", ["drain", "wait_closed"])
async def test_a_connection_that_is_gone_in_whatever_way_gives_no_traceback(
    service: Service, log, monkeypatch, error: int, where: str
):
    async def fails(writer: asyncio.StreamWriter) -> None:
        failed.set()
        raise OSError(error, os.strerror(error))

    failed = asyncio.Event()
    host, _, port = service.address.partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    monkeypatch.setattr(asyncio.StreamWriter, where, fails)
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    await asyncio.wait_for(failed.wait(), 10)
    monkeypatch.undo()
    writer.close()
    assert (await service.ask("GET", "/healthz"))[0] == 200
    assert "Traceback" not in log.getvalue()
    assert "ExceptionGroup" not in log.getvalue()


async def test_there_is_a_bound_on_connections_and_who_leaves_makes_room(crowded: Service, log):
    host, port = crowded.address.split(":")

    def served() -> bool:
        with contextlib.suppress(OSError), Probe((host, int(port))) as probe:
            probe.send(HEAD.format(method="GET", path="/healthz", version="1.0", fields="").encode())
            return probe.socket.recv(12) == b"HTTP/1.1 200"
        return False

    with contextlib.ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(Probe((host, int(port))))
        assert not await asyncio.to_thread(served)
        assert "the most that are served" in log.getvalue()
    async with asyncio.timeout(DEADLINE):
        while not await asyncio.to_thread(served):  # noqa: ASYNC110 (nothing signals that there is room)
            await asyncio.sleep(0.01)


async def test_a_head_that_does_not_come_is_not_waited_for(fake, tmp_path, log, monkeypatch):
    monkeypatch.setattr("callgate.web.server.HEAD_DEADLINE", 0.3)

    def trickle(address: str) -> None:
        host, port = address.split(":")
        with Probe((host, int(port))) as probe, contextlib.suppress(ConnectionResetError):
            probe.send(b"GET / HTTP/1.1\r\n")
            probe.socket.settimeout(0.02)
            for _ in range(int(DEADLINE / 0.02)):
                with contextlib.suppress(TimeoutError):
                    assert probe.socket.recv(1) == b""
                    return
                with contextlib.suppress(BrokenPipeError):
                    probe.send(b"X: y\r\n")
            raise AssertionError("it is still waited for")

    async with running(config_for(fake.url, tmp_path)) as service:
        await asyncio.to_thread(trickle, service.address)


@pytest.mark.parametrize("then", ["send", "close"])
async def test_who_takes_nothing_is_let_go(then: str, monkeypatch):
    monkeypatch.setattr("callgate.websocket.on_hypercorn.port.WRITE_DEADLINE", 0.2)
    hypercorn_port.install()
    made: asyncio.Future[TCPServer] = asyncio.Future()

    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        unused: Any = None
        made.set_result(TCPServer(unused, asyncio.get_running_loop(), unused, unused, unused, reader, writer))

    listener = await asyncio.start_server(accepted, "127.0.0.1", 0)
    with Probe(listener.sockets[0].getsockname(), receive_buffer=4096) as probe:
        server = await made
        data = bytes(32 * 1024 * 1024)
        if then == "send":
            await server.protocol_send(RawData(data))
        else:
            server.writer.write(data)
            await server._close()
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(server.writer.drain(), DEADLINE)
        assert probe.socket.fileno() > 0
    listener.close()
