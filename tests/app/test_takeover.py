"""Connections that are taken over after their peer has already left or sent data; and a call without the takeover."""

from __future__ import annotations

import asyncio
import contextlib
import io
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import uvloop
from callgate.websocket.on_hypercorn import takeover
from callgate.websocket.server import WebSocketServer
from hypercorn.protocol.ws_stream import WSStream
from support.fake_openai import FakeOpenAI, Script, say, tone
from support.service import config_for, running
from support.websocket_probe import TEXT, frame

GREETING = tone(0.4, 440)
DEADLINE = 10  # seconds


class Recorder:
    """A receiver that records its calls."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.closings: list[int] = []

    def text_received(self, message: bytes) -> None:
        self.messages.append(message)

    binary_received = text_received

    def batch_received(self) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...

    def connection_closed(self, code: int, reason: str) -> None:
        self.closings.append(code)


class Accepted:
    """A connection held by asyncio's streams, as in Hypercorn, and its peer's socket."""

    def __init__(self, peer: socket.socket, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.peer, self.reader, self.writer = peer, reader, writer

    async def until(self, done: Callable[[], Any]) -> None:
        """Let the event loop read from the peer."""
        async with asyncio.timeout(DEADLINE):
            while not done():  # noqa: ASYNC110 (a reader only wakes a task that reads)
                await asyncio.sleep(0)

    def take(self) -> tuple[Recorder, WebSocketServer]:
        """Take the connection over."""
        recorder = Recorder()
        server = WebSocketServer(recorder)
        stream: Any = SimpleNamespace(task_group=None)
        hypercorns: Any = SimpleNamespace(reader=self.reader, writer=self.writer)
        scope = {"extensions": {takeover.EXTENSION: takeover.Takeover(stream, hypercorns)}}
        assert takeover.take(scope, server)
        return recorder, server


@contextlib.asynccontextmanager
async def accepted() -> AsyncIterator[Accepted]:
    streams: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()
    listener = await asyncio.start_server(lambda *both: streams.set_result(both), "127.0.0.1", 0)
    with socket.create_connection(listener.sockets[0].getsockname()) as peer:
        reader, writer = await streams
        try:
            yield Accepted(peer, reader, writer)
        finally:
            writer.close()
            listener.close()


@pytest.fixture(params=[uvloop.new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Run on the product's event loop, and on asyncio's own, because their transports differ."""
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


def test_what_came_behind_the_upgrade_is_received(runner: asyncio.Runner):
    async def taken() -> None:
        async with accepted() as connection:
            connection.peer.sendall(frame(TEXT, b"one") + frame(TEXT, b"two")[:5])
            await connection.until(lambda: connection.reader._buffer)
            recorder, server = connection.take()
            assert recorder.messages == [b"one"]
            connection.peer.sendall(frame(TEXT, b"two")[5:])
            connection.peer.close()
            await asyncio.wait_for(server.wait_closed(), DEADLINE)
            assert recorder.messages == [b"one", b"two"]
            assert recorder.closings == [1006]

    runner.run(taken())


def test_a_peer_that_has_ended_its_side_by_then_is_let_go(runner: asyncio.Runner):
    async def taken() -> None:
        async with accepted() as connection:
            connection.peer.sendall(frame(TEXT, b"last"))
            connection.peer.shutdown(socket.SHUT_WR)
            await connection.until(lambda: connection.reader._eof)
            recorder, server = connection.take()
            await asyncio.wait_for(server.wait_closed(), DEADLINE)
            assert recorder.messages == [b"last"]
            assert recorder.closings == [1006]

    runner.run(taken())


def test_a_peer_that_has_left_by_then_is_a_closed_connection(runner: asyncio.Runner):
    async def taken() -> None:
        async with accepted() as connection:
            connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.peer.close()
            with pytest.raises(ConnectionResetError):
                await asyncio.wait_for(connection.reader.read(1), DEADLINE)
            recorder, server = connection.take()
            await asyncio.wait_for(server.wait_closed(), DEADLINE)
            assert recorder.closings == [1006]
            server.send_text(b"to nobody")
            server.close()
            assert server.waiting == 0

    runner.run(taken())


async def test_a_call_runs_on_the_ordinary_path_where_hypercorn_is_not_as_known(
    fake: FakeOpenAI, tmp_path, log: io.StringIO, monkeypatch: pytest.MonkeyPatch
):
    begin = WSStream.__init__

    def begin_otherwise(stream: WSStream, *args: object) -> None:
        begin(stream, *args)
        send = stream.send
        stream.send = lambda event: send(event)

    monkeypatch.setattr(WSStream, "__init__", begin_otherwise)
    monkeypatch.setattr(takeover, "_warned", set())
    fake.script = Script((say(GREETING),))
    async with running(config_for(fake.url, tmp_path)) as service:
        for _ in range(2):
            async with service.stream() as line:
                await line.hear(GREETING)
                await line.hang_up()
                assert await line.closed() == 1000
    assert log.getvalue().count("served on the ordinary path") == 1
