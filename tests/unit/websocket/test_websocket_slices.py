"""How much one iteration of the event loop processes for one stream, and how much a stream may send in total."""

from __future__ import annotations

import asyncio

import pytest
from callgate.websocket.allowance import BYTES_AT_ONCE, FRAMES_AT_ONCE, TWILIOS, UNLIMITED, Allowance, Pace
from callgate.websocket.server import WebSocketServer
from callgate.websocket.sockets import MESSAGE_LIMIT
from support.recording_transport import Recorder, RecordingTransport, frames_of
from support.websocket_probe import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, close_payload, frame

CHUNK = 256 * 1024  # bytes; the most that uvloop delivers at once


class Batches(Recorder):
    """A receiver that counts the messages in each iteration of the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def batch_received(self) -> None:
        self.batches.append(len(self.messages) - sum(self.batches))


def opened(pace: Pace = UNLIMITED) -> tuple[WebSocketServer, RecordingTransport, Batches]:
    receiver, transport = Batches(), RecordingTransport()
    server = WebSocketServer(receiver, pace=pace)
    server.connection_made(transport)
    return server, transport, receiver


@pytest.fixture
async def calls():
    """Yield two streams: one that sends too much at once, and another."""
    made = [opened(), opened()]
    yield made
    for server, _, _ in made:
        server.connection_lost(None)
        await server.wait_closed()


async def test_another_streams_messages_come_between_the_slices_of_one_that_sends_much(calls):
    (server, transport, receiver), (other, _, others) = calls
    server.data_received(b"".join(frame(TEXT, b"%d" % number) for number in range(1000)))
    seen: list[tuple[int, int]] = []
    while transport.paused:
        other.data_received(frame(TEXT, b"other"))
        seen.append((len(receiver.messages), len(others.messages)))
        await asyncio.sleep(0)
    assert [taken for taken, _ in seen] == [FRAMES_AT_ONCE * turn for turn in range(1, len(seen) + 1)]
    assert [text for _, text in receiver.messages] == [b"%d" % number for number in range(1000)]
    assert len(others.messages) == len(seen) == 1000 // FRAMES_AT_ONCE
    assert receiver.batches[:-1] == [FRAMES_AT_ONCE] * (len(receiver.batches) - 1)


@pytest.mark.parametrize("opcode", [PING, PONG, TEXT, BINARY])
async def test_a_slice_is_bounded_in_frames_whatever_they_are(calls, opcode):
    (server, transport, receiver), _ = calls
    one = frame(opcode)
    server.data_received(one * (CHUNK // len(one)))
    assert transport.paused
    assert len(receiver.messages) + len(list(frames_of(bytes(transport.written)))) <= FRAMES_AT_ONCE


async def test_a_slice_is_bounded_in_fragments(calls):
    (server, transport, receiver), _ = calls
    server.data_received(frame(TEXT, fin=False) + frame(CONTINUATION, b"x", fin=False) * 100)
    assert transport.paused
    server.data_received(frame(CONTINUATION, b"!"))  # read before reading was paused
    await transport.until_read()
    assert receiver.messages == [(TEXT, b"x" * 100 + b"!")]


async def test_a_slice_is_bounded_in_bytes(calls):
    (server, transport, receiver), _ = calls
    server.data_received(frame(BINARY, bytes(BYTES_AT_ONCE // 2)) * 10)
    assert transport.paused
    assert len(receiver.messages) == 2
    await transport.until_read()
    assert len(receiver.messages) == 10


@pytest.mark.parametrize("end", ["eof", "lost", "eof and lost"])
async def test_what_came_before_the_connections_end_is_received_before_it(end):
    server, transport, receiver = opened()
    server.data_received(frame(TEXT, b"x") * 100)
    if "eof" in end:
        assert server.eof_received()  # keep it open for now
    if "lost" in end:
        server.connection_lost(None)
    assert receiver.closings == []
    if "lost" not in end:
        await transport.until_read()
        assert transport.closed
        server.connection_lost(None)
    await server.wait_closed()
    assert len(receiver.messages) == 100
    assert [code for code, _ in receiver.closings] == [1006]


async def test_what_a_close_was_sent_behind_is_received_and_nothing_after_it():
    server, transport, receiver = opened()
    server.data_received(frame(TEXT, b"x") * 100 + frame(CLOSE, close_payload(1000)) + frame(TEXT, b"late") * 100)
    await transport.until_read()
    assert len(receiver.messages) == 100
    assert [code for code, _ in receiver.closings] == [1000]
    server.connection_lost(None)


async def test_a_frame_that_breaks_the_protocol_behind_others_fails_behind_them_and_the_rest_is_read_off():
    server, transport, receiver = opened()
    server.data_received(frame(TEXT, b"x") * 100 + frame(TEXT, rsv=1) + frame(TEXT, b"late") * 100)
    await transport.until_read()
    assert len(receiver.messages) == 100
    assert [code for code, _ in receiver.closings] == [1002]
    assert not transport.paused
    server.connection_lost(None)


@pytest.mark.parametrize("opcode", [PING, PONG, TEXT, BINARY])
async def test_whoever_sends_more_than_twilio_ever_does_is_told_1008_and_heard_no_more(opcode):
    server, transport, receiver = opened(TWILIOS)
    for _ in range(2 * TWILIOS.burst_frames // 100):
        server.data_received(frame(opcode, b"x") * 100)
        while transport.paused and not receiver.closings:  # noqa: ASYNC110 (each iteration takes a slice)
            await asyncio.sleep(0)
    assert transport.paused
    ((code, why),) = receiver.closings
    assert code == 1008
    assert f"{TWILIOS.frames} frames and {TWILIOS.bytes} bytes a second are allowed" in why
    assert list(frames_of(bytes(transport.written)))[-1] == (CLOSE, close_payload(1008, b"more than is allowed"))
    assert len(receiver.messages) <= TWILIOS.burst_frames + FRAMES_AT_ONCE
    server.connection_lost(None)
    await server.wait_closed()


async def test_bytes_that_end_no_frame_are_counted_too():
    server, transport, receiver = opened(TWILIOS)
    header = frame(BINARY, length=MESSAGE_LIMIT)
    server.data_received(header)
    for _ in range(2 * TWILIOS.burst_frames):
        if not transport.paused:
            server.data_received(b"x")
    assert [code for code, _ in receiver.closings] == [1008]
    server.connection_lost(None)


async def test_a_peer_that_broke_the_protocol_is_read_no_further_than_is_allowed():
    server, transport, receiver = opened(TWILIOS)
    server.data_received(frame(TEXT, rsv=1))
    assert [code for code, _ in receiver.closings] == [1002]
    chunks = 0
    while not transport.paused:
        server.data_received(bytes(CHUNK))
        chunks += 1
    assert chunks <= TWILIOS.burst_bytes // CHUNK + 2
    server.connection_lost(None)


async def test_a_message_may_be_as_big_as_twilios_biggest_and_not_many_times_that():
    server, _, receiver = opened(TWILIOS)
    server.data_received(frame(TEXT, b"x" * MESSAGE_LIMIT))
    assert len(receiver.messages) == 1
    server.data_received(frame(TEXT, length=MESSAGE_LIMIT + 1))
    assert [code for code, _ in receiver.closings] == [1009]
    server.connection_lost(None)


# RFC 6455 §8.1: text that is not UTF-8 fails as soon as that is known, even if the frame is not complete.

BEGUN = "κόσμε".encode()


@pytest.mark.parametrize("size", [1, 2, 3, 100])
@pytest.mark.parametrize("fragmented", [False, True], ids=["one frame", "fragments"])
@pytest.mark.parametrize("bad", [b"\xf4\x90", b"\xff", b"\xc0"])
async def test_text_that_can_not_become_utf_8_fails_before_its_frame_ends(size, fragmented, bad):
    server, _, receiver = opened()
    if fragmented:
        server.data_received(frame(TEXT, BEGUN[:3], fin=False))
        stream = frame(CONTINUATION, BEGUN[3:] + bad + b"the rest")
    else:
        stream = frame(TEXT, BEGUN + bad + b"the rest")
    cut = len(stream) - len(b"the rest")
    for at in range(0, cut, size):
        assert receiver.closings == []
        server.data_received(stream[at : min(at + size, cut)])
    assert [code for code, _ in receiver.closings] == [1007]
    server.connection_lost(None)


@pytest.mark.parametrize("size", range(1, 8))
async def test_text_that_is_utf_8_may_be_cut_anywhere(size):
    server, _, receiver = opened()
    text = BEGUN * 3 + "😀".encode()
    stream = frame(TEXT, text) + frame(TEXT, text[:5], fin=False) + frame(CONTINUATION, text[5:]) + frame(TEXT, text)
    for at in range(0, len(stream), size):
        server.data_received(stream[at : at + size])
    assert receiver.messages == [(TEXT, text)] * 3
    server.connection_lost(None)


def test_an_allowance_is_earned_again_with_time():
    now = 0.0
    allowance = Allowance(Pace(frames=10, bytes=1000, burst_frames=20, burst_bytes=5000), lambda: now)
    assert allowance.spend(20, 0)
    assert not allowance.spend(1, 0)
    for second in range(1, 100):
        now = float(second)
        assert allowance.spend(9, 900)
    assert not allowance.spend(200, 0)
    assert "10 frames and 1000 bytes a second are allowed" in allowance.exceeded


def test_it_may_take_what_twilio_sends_in_an_hour():
    now = 0.0
    allowance = Allowance(TWILIOS, lambda: now)
    for each in range(3600 * 55):
        now = each / 55
        assert allowance.spend(1, 420)
