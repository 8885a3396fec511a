"""RFC 6455 §5.5: control frames; §5.5.2 and §5.5.3: pings and pongs."""

from __future__ import annotations

import pytest
from support.conformance.differences import NO_CODE, PROTOCOL_ERROR, closes, fails
from support.conformance.echo_service import Service
from support.websocket_probe import CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, close_payload, frame

CONTROL = (CLOSE, PING, PONG)


@pytest.mark.parametrize("opcode", CONTROL)
def test_5_5_a_control_frame_of_126_bytes_fails_the_connection(service: Service, opcode: int):
    with service.connect() as (probe, receiver):
        probe.send_frame(opcode, close_payload(1000) + b"x" * 124)
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []


@pytest.mark.parametrize("opcode", CONTROL)
@pytest.mark.parametrize("length", [65536, 1 << 40])
def test_5_5_a_long_control_frame_fails_the_connection_before_its_payload(service: Service, opcode: int, length: int):
    with service.connect() as (probe, receiver):
        probe.send_frame(opcode, length=length)
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []


@pytest.mark.parametrize("opcode", CONTROL)
@pytest.mark.parametrize("payload", [b"", close_payload(1000)])
def test_5_5_a_fragmented_control_frame_fails_the_connection(service: Service, opcode: int, payload: bytes):
    with service.connect() as (probe, receiver):
        probe.send(frame(opcode, payload, fin=False), frame(CONTINUATION, payload))
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []


@pytest.mark.parametrize("payload", [b"", b"x", b"\x00\xff\xfe", b"x" * 125])
def test_5_5_2_a_ping_is_answered_with_its_own_payload(service: Service, payload: bytes):
    with service.connect() as (probe, receiver):
        probe.send_frame(PING, payload)
        assert probe.read_frame() == Frame(PONG, payload)
        assert receiver.messages == []


def test_5_5_2_pings_are_answered_in_order(service: Service):
    """§5.5.3 allows a server to answer only the last of several pings; this one answers each."""
    with service.probe() as probe:
        probe.send(*(frame(PING, bytes((number,))) for number in range(20)))
        assert [probe.read_frame() for _ in range(20)] == [Frame(PONG, bytes((number,))) for number in range(20)]


def test_5_5_2_a_ping_that_comes_byte_by_byte_is_answered(service: Service):
    with service.probe() as probe:
        for byte in frame(PING, b"slow"):
            probe.send(bytes((byte,)))
        assert probe.read_frame() == Frame(PONG, b"slow")


@pytest.mark.parametrize("payload", [b"", b"unasked", b"x" * 125])
def test_5_5_3_an_unsolicited_pong_is_not_answered(service: Service, payload: bytes):
    with service.connect() as (probe, receiver):
        probe.send(frame(PONG, payload), frame(TEXT, b"still here"))
        assert probe.read_message() == Frame(TEXT, b"still here")
        probe.send_frame(CLOSE)
        assert closes(service, probe, receiver, NO_CODE) == []
        assert receiver.messages == [(TEXT, b"still here")]
