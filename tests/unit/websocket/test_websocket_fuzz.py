"""Broken, truncated and random bytes for the server's side of a WebSocket: it interprets them as `wsproto` does.

``CALLGATE_FUZZ_BYTES`` sets the amount (10 million bytes by default), ``CALLGATE_FUZZ_SEED`` the starting point. A
failure names its stream's seed; `check` runs that stream again.
"""

from __future__ import annotations

import os
import random
import signal
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest
from callgate.websocket.allowance import UNLIMITED
from callgate.websocket.server import WebSocketServer
from support.recording_transport import Recorder, RecordingTransport, frames_of
from support.websocket_probe import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame
from support.websocket_streams import BIG, KINDS, chunked
from wsproto.connection import Connection, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage

BYTES: Final = int(os.environ.get("CALLGATE_FUZZ_BYTES", 10_000_000))
SEED: Final = int(os.environ.get("CALLGATE_FUZZ_SEED", 0))
PARTS: Final = 8  # tests, so that several processes can share the work
MESSAGE_LIMIT: Final = BIG  # bytes; some streams have a message that is one byte longer
HANG: Final = 300  # seconds; far more than a part takes
NEVER: Final = 3600.0  # seconds


@dataclass
class Told:
    """The outcome of a stream of bytes."""

    messages: list[tuple[int, bytes]] = field(default_factory=list)  # opcode, payload
    pongs: list[bytes] = field(default_factory=list)
    close: int | None = None  # the code in the answer: the peer's own, or 1005 for none; `None` while it is open


async def serve(chunks: Iterator[bytes], *, ends_at_once: bool = False) -> Told:
    """Feed these chunks to Callgate's server, and return the outcome. With ``ends_at_once``, the connection is lost
    before more than the first slice was processed."""
    recorder, transport = Recorder(), RecordingTransport()
    server = WebSocketServer(
        recorder,
        message_limit=MESSAGE_LIMIT,
        pace=UNLIMITED,
        ping_after=NEVER,
        ping_deadline=NEVER,
        close_deadline=NEVER,
    )
    server.connection_made(transport)
    for chunk in chunks:
        if transport.closed:
            break
        server.data_received(chunk)
        if not ends_at_once:
            await transport.until_read()
    server.connection_lost(None)
    await server.wait_closed()  # after the connection's end, it processes what came before
    told = Told(recorder.messages)
    for opcode, payload in frames_of(bytes(transport.written)):
        assert told.close is None, "something was sent behind the close frame"
        if opcode == PONG:
            told.pongs.append(payload)
        else:
            assert opcode == CLOSE
            told.close = int.from_bytes(payload[:2], "big") if payload else 1005
    (closing,) = recorder.closings
    assert closing[0] == (1006 if told.close is None else told.close)
    return told


def refer(stream: bytes) -> Told:
    """Return `wsproto`'s outcome for a stream."""
    told, parts = Told(), b""
    connection = Connection(ConnectionType.SERVER)
    connection.receive_data(stream)
    for event in connection.events():
        match event:
            case TextMessage() | BytesMessage():
                text = isinstance(event, TextMessage)
                parts += event.data.encode() if text else event.data
                if event.message_finished:
                    told.messages.append((TEXT if text else BINARY, parts))
                    parts = b""
            case Ping():
                told.pongs.append(bytes(event.payload))
            case CloseConnection():
                told.close = int(event.code)
                break
            case _:
                assert isinstance(event, Pong)
    return told


async def check(seed: int) -> int:
    """Compare both on the stream of this seed. Return its length in bytes."""
    rng = random.Random(seed)
    stream = rng.choice(KINDS)(rng) + frame(TEXT, b"more")
    wanted = refer(stream)
    told = await serve(chunked(rng, stream), ends_at_once=rng.random() < 0.3)
    if told.close == 1009:  # wsproto has no limit, but up to there its outcome is the same
        wanted = Told(wanted.messages[: len(told.messages)], wanted.pongs[: len(told.pongs)], 1009)
    assert told == wanted
    return len(stream)


async def test_a_stream_may_be_cut_anywhere():
    stream = b"".join(
        [
            frame(TEXT, "grüße".encode()),
            frame(BINARY, b"x" * 126, fin=False),
            frame(PING, b"p"),
            frame(CONTINUATION, b"y" * 70_000),
            frame(CLOSE, close_payload(1000)),
        ]
    )
    edges = [*range(300), *range(len(stream) - 300, len(stream))]  # there is only payload between them
    wanted = Told([(TEXT, "grüße".encode()), (BINARY, b"x" * 126 + b"y" * 70_000)], [b"p"], 1000)
    for cut in edges:
        assert await serve(iter([stream[:cut], stream[cut:]])) == wanted


async def test_a_message_of_endless_empty_fragments_takes_no_memory():
    server, transport = WebSocketServer(Recorder(), pace=UNLIMITED), RecordingTransport()
    server.connection_made(transport)
    server.data_received(frame(BINARY, fin=False))
    nothing = frame(CONTINUATION, fin=False) * 500
    tracemalloc.start()
    for _ in range(100):
        server.data_received(nothing)
        await transport.until_read()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    server.connection_lost(None)
    assert held < 100_000  # bytes; two for each fragment


@pytest.fixture
def deadline() -> Iterator[None]:
    """Fail the test if a parser hangs."""

    def hangs(*_: object) -> None:
        raise AssertionError(f"it hangs: {HANG} s are over")

    before = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(HANG)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.whole
async def test_any_bytes_in_any_chunks_are_taken_as_another_library_takes_them(part: int, deadline: None):
    fed, seed = 0, (SEED * PARTS + part) * 1_000_000
    while fed < BYTES / PARTS:
        try:
            fed += await check(seed)
        except Exception as exc:
            raise AssertionError(f"the stream of seed {seed}: {exc!r}") from exc
        seed += 1
