"""How TCP delivers and accepts the frames: in any pieces, at any speed, or not at all."""

from __future__ import annotations

import random

import pytest
from callgate.websocket.server import WRITE_HIGH
from support.conformance.differences import LOST, differs
from support.conformance.echo_service import Flood, Service, running
from support.websocket_probe import (
    BINARY,
    CONTINUATION,
    DEADLINE,
    PING,
    PONG,
    TEXT,
    Ending,
    Frame,
    Probe,
    frame,
    upgrade_request,
)


def test_a_stream_may_come_byte_by_byte(service: Service):
    with service.probe() as probe:
        for byte in frame(TEXT, "ü".encode() * 100):
            probe.send(bytes((byte,)))
        assert probe.read_message() == Frame(TEXT, "ü".encode() * 100)
        for byte in frame(BINARY, b"a", fin=False) + frame(PING) + frame(CONTINUATION, b"b"):
            probe.send(bytes((byte,)))
        assert probe.read_frame() == Frame(PONG, b"")
        assert probe.read_message() == Frame(BINARY, b"ab")


def test_many_frames_may_come_in_one_segment(service: Service):
    with service.probe() as probe:
        probe.send(*(frame(TEXT, str(number).encode()) for number in range(1000)))
        assert [probe.read_message().payload for _ in range(1000)] == [str(number).encode() for number in range(1000)]


def test_a_long_stream_comes_back_whole_and_in_order(service: Service):
    rng = random.Random(6455)
    with service.probe() as probe:
        for _ in range(30):
            payloads = [rng.randbytes(rng.choice((3, 200, 3000, 70_000))) for _ in range(rng.randint(1, 5))]
            probe.send(*(frame(BINARY, payload, mask=rng.randbytes(4)) for payload in payloads))
            assert [probe.read_message().payload for _ in payloads] == payloads


def test_frames_right_behind_the_answer_to_the_upgrade_are_taken(service: Service):
    for _ in range(20):
        with service.connect() as (probe, _):
            probe.send_frame(TEXT, b"first")
            assert probe.read_message() == Frame(TEXT, b"first")


@pytest.mark.parametrize("wait", [False, True], ids=["at-once", "answered"])
def test_a_peer_that_ends_its_side_right_behind_the_upgrade_is_let_go(service: Service, wait: bool):
    for _ in range(20):
        with Probe(service.address) as probe:
            if wait:
                probe.upgrade("/")
                probe.finish()
                assert probe.read_to_end() == ([], Ending(None))
            else:
                probe.send(upgrade_request("/"))
                probe.finish()
                while probe.socket.recv(65536):
                    pass


@pytest.mark.parametrize("cut", ["close", "reset"])
def test_a_peer_that_leaves_right_behind_the_upgrade_leaves_nothing(service: Service, cut: str):
    for _ in range(20):
        with Probe(service.address) as probe:
            probe.send(upgrade_request("/"))
            probe.socket.close() if cut == "close" else probe.reset()


def test_a_peer_that_reads_nothing_pauses_its_receiver_until_it_reads_and_loses_nothing(service: Service):
    with service.connect(Flood, receive_buffer=4096) as (probe, receiver):
        probe.send_frame(TEXT, b"go")
        assert receiver.paused.wait(DEADLINE)
        assert receiver.sent < receiver.COUNT
        assert receiver.waiting_when_paused <= WRITE_HIGH + receiver.SIZE + 16
        for number in range(receiver.COUNT):
            assert probe.read_message() == Frame(BINARY, receiver.message(number))
        assert receiver.resumed.is_set()


def test_a_peer_that_reads_nothing_is_still_listened_to(service: Service):
    with service.connect(Flood, receive_buffer=4096) as (probe, receiver):
        probe.send_frame(TEXT, b"go")
        assert receiver.paused.wait(DEADLINE)
        probe.reset()
        assert receiver.closed() == LOST


def test_5_5_2_a_peer_that_answers_no_ping_is_given_up(kind: str):
    with running(kind, ping_after=0.01, ping_deadline=0.01) as service, service.connect() as (probe, receiver):
        if differs(service, "no ping is sent"):
            probe.finish()
            assert probe.read_to_end() == ([], Ending(None))
        else:
            assert probe.read_frame() == Frame(PING, b"")
            frames, ending = probe.read_to_end()
            assert ending.code is None
            assert all(frame == Frame(PING, b"") for frame in frames)
        assert receiver.closed() == LOST
        assert not receiver.told_again


@pytest.mark.parametrize("sign", [PONG, TEXT], ids=["pong", "message"])
@pytest.mark.whole
def test_5_5_2_a_peer_that_gives_any_sign_of_life_is_kept(kind: str, sign: int):
    with running(kind, ping_after=0.01, ping_deadline=0.5) as service, service.probe() as probe:
        if differs(service, "no ping is sent"):
            probe.send_frame(TEXT, b"here")
            assert probe.read_message() == Frame(TEXT, b"here")
            return
        for _ in range(2):  # the second comes once the first was answered
            assert probe.read_frame() == Frame(PING, b"")
            probe.send_frame(sign, b"here")
            if sign == TEXT:
                assert probe.read_message() == Frame(TEXT, b"here")
