"""RFC 6455 §5.5.1 and §7: the closing handshake, its codes, and connections that end without it."""

from __future__ import annotations

import pytest
from support.conformance.differences import INVALID_TEXT, LOST, NO_CODE, PROTOCOL_ERROR, closes, differs, fails
from support.conformance.echo_service import Observed, Service, running
from support.websocket_probe import BINARY, CLOSE, CONTINUATION, PING, TEXT, Ending, Frame, Probe, close_payload, frame

ALLOWED = (1000, 1001, 1002, 1003, *range(1007, 1015), 3000, 3999, 4000, 4999)
FORBIDDEN = (0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535)


@pytest.mark.parametrize("code", ALLOWED)
def test_7_4_a_close_is_answered_with_its_code_and_the_connections_end(service: Service, code: int):
    with service.connect() as (probe, receiver):
        probe.send_frame(CLOSE, close_payload(code))
        if code == 1014 and differs(service, "1014 is not known"):
            assert fails(service, probe, receiver, PROTOCOL_ERROR) == []
        else:
            assert closes(service, probe, receiver, code) == []
        assert not receiver.told_again


@pytest.mark.parametrize("code", FORBIDDEN)
def test_7_4_a_close_with_a_code_that_no_frame_may_carry_fails_the_connection(service: Service, code: int):
    with service.connect() as (probe, receiver):
        probe.send_frame(CLOSE, close_payload(code, b"reason"))
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []


def test_7_1_5_a_close_without_a_code_is_answered_without_one(service: Service):
    with service.connect() as (probe, receiver):
        probe.send_frame(CLOSE)
        assert closes(service, probe, receiver, NO_CODE) == []


@pytest.mark.parametrize("reason", [b"x", "Auf Wiederhören 😀".encode(), b"x" * 123])
def test_7_1_6_a_close_may_have_a_reason(service: Service, reason: bytes):
    with service.connect() as (probe, receiver):
        probe.send_frame(CLOSE, close_payload(1000, reason))
        assert closes(service, probe, receiver, 1000) == []


def test_5_5_1_a_close_of_one_byte_fails_the_connection(service: Service):
    with service.connect() as (probe, receiver):
        probe.send_frame(CLOSE, b"\x03")
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []


@pytest.mark.parametrize("reason", [b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"good, then cut \xe4\xb8"])
def test_5_5_1_a_reason_that_is_not_utf_8_fails_the_connection(service: Service, reason: bytes):
    with service.connect() as (probe, receiver):
        probe.send_frame(CLOSE, close_payload(1000, reason))
        assert fails(service, probe, receiver, INVALID_TEXT) == []


def test_5_5_1_data_behind_a_close_is_not_taken(service: Service):
    with service.connect() as (probe, receiver):
        probe.send(frame(CLOSE, close_payload(1000)), frame(TEXT, b"late"), frame(PING), frame(CLOSE))
        assert closes(service, probe, receiver, 1000) == []
        assert receiver.messages == []


def test_5_5_1_a_close_within_a_fragmented_message_is_answered(service: Service):
    with service.connect() as (probe, receiver):
        probe.send(frame(TEXT, b"half", fin=False), frame(CLOSE, close_payload(1001)), frame(CONTINUATION, b"late"))
        assert closes(service, probe, receiver, 1001) == []
        assert receiver.messages == []


def test_5_5_1_messages_before_a_close_are_delivered(service: Service):
    with service.connect() as (probe, receiver):
        probe.send(*(frame(BINARY, bytes((number,))) for number in range(50)), frame(CLOSE, close_payload(1000)))
        frames = closes(service, probe, receiver, 1000)
        assert receiver.messages == [(BINARY, bytes((number,))) for number in range(50)]
        if differs(service, "echoes are cut off by the peer's close"):
            assert frames == [Frame(BINARY, bytes((number,))) for number in range(len(frames))]
        else:
            assert frames == [Frame(BINARY, bytes((number,))) for number in range(50)]


# The server starts the closing handshake.


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "the server stops"), (1011, "ü" * 61), (4999, "x")])
def test_7_1_2_a_server_that_closes_waits_for_the_answer(service: Service, code: int, reason: str):
    with service.connect() as (probe, receiver):
        service.call(receiver.close, code, reason)
        closing = probe.read_frame()
        assert closing == Frame(CLOSE, close_payload(code, reason.encode()))
        probe.send_frame(CLOSE, closing.payload)
        with pytest.raises(EOFError):
            probe.read_frame()
        told = receiver.closed()
        assert told == (LOST if differs(service, "the code is not told") else code)
        assert not receiver.told_again


def test_5_5_1_a_server_that_closes_sends_and_takes_nothing_more(service: Service):
    def close_and_go_on(receiver: Observed) -> None:
        receiver.close(1000, "")
        receiver.socket.send_text(b"late")
        receiver.socket.send_texts(b"later", b"too late")
        receiver.close(1001, "again")

    with service.connect() as (probe, receiver):
        service.call(close_and_go_on, receiver)
        assert probe.read_frame().opcode == CLOSE
        probe.send(frame(TEXT, b"not yet answered"), frame(PING), frame(CLOSE, close_payload(1000)))
        with pytest.raises(EOFError):
            probe.read_frame()
        receiver.closed()
        assert receiver.messages == []


def test_7_1_2_what_was_sent_before_a_close_comes_before_it(service: Service):
    def send_and_close(receiver: Observed) -> None:
        for number in range(50):
            receiver.socket.send_binary(bytes((number,)) * 1000)
        receiver.close(1000, "")

    with service.connect() as (probe, receiver):
        service.call(send_and_close, receiver)
        for number in range(50):
            assert probe.read_message() == Frame(BINARY, bytes((number,)) * 1000)
        assert probe.read_frame() == Frame(CLOSE, close_payload(1000))


@pytest.mark.whole
def test_7_1_1_a_peer_that_does_not_answer_a_close_is_cut_off(kind: str):
    with running(kind, close_deadline=0.05) as service, service.connect() as (probe, receiver):
        service.call(receiver.close, 1000, "")
        assert probe.read_to_end()[1].code == 1000
        assert receiver.closed() == LOST
        assert not receiver.told_again


def test_7_1_1_a_peer_that_does_not_leave_after_it_was_refused_is_cut_off(kind: str):
    with running(kind, close_deadline=0.05) as service, service.connect() as (probe, receiver):
        probe.send_frame(0x3)
        fails(service, probe, receiver, PROTOCOL_ERROR)
        assert not receiver.told_again
        with pytest.raises((ConnectionResetError, BrokenPipeError)):  # before the socket's deadline
            keep_sending(probe)


def keep_sending(probe: Probe) -> None:
    """Send until it is known that the connection is gone."""
    probe.socket.settimeout(None)
    for _ in range(1_000_000):
        probe.send_frame(TEXT, b"still here")


# Connections that end without a close frame (§7.1.4, §7.2.1).


def test_7_1_5_an_end_without_a_close_is_1006(service: Service):
    with service.connect() as (probe, receiver):
        probe.send_frame(TEXT, b"last")
        assert probe.read_message() == Frame(TEXT, b"last")
        probe.socket.close()
        assert receiver.closed() == LOST
        assert not receiver.told_again


def test_7_1_5_a_reset_is_1006(service: Service):
    with service.connect() as (probe, receiver):
        probe.send_frame(TEXT, b"last")
        assert probe.read_message() == Frame(TEXT, b"last")
        probe.reset()
        assert receiver.closed() == LOST
        assert not receiver.told_again


@pytest.mark.parametrize("cut", range(1, len(frame(TEXT, b"cut"))))
def test_7_1_5_an_end_within_a_frame_is_1006(service: Service, cut: int):
    with service.connect() as (probe, receiver):
        probe.send(frame(TEXT, b"cut")[:cut])
        probe.finish()
        assert probe.read_to_end() == ([], Ending(None))
        assert receiver.closed() == LOST
        assert receiver.messages == []


def test_7_2_1_what_came_before_a_half_close_is_still_delivered(service: Service):
    """A FIN says that nothing more is coming; it does not cancel what came before."""
    with service.connect() as (probe, receiver):
        probe.send(*(frame(BINARY, bytes((number,))) for number in range(50)))
        probe.finish()
        frames, ending = probe.read_to_end()
        assert ending == Ending(None)
        assert receiver.closed() == LOST
        assert receiver.messages == [(BINARY, bytes((number,))) for number in range(50)]
        if differs(service, "echoes are cut off by the peer's close"):
            assert frames == [Frame(BINARY, bytes((number,))) for number in range(len(frames))]
        else:
            assert frames == [Frame(BINARY, bytes((number,))) for number in range(50)]


def test_7_2_1_a_close_and_a_half_close_at_once_are_answered(service: Service):
    with service.connect() as (probe, receiver):
        probe.send_frame(CLOSE, close_payload(1000))
        probe.finish()
        assert closes(service, probe, receiver, 1000) == []
