"""RFC 6455 §10.4: messages that are too big are refused with 1009, before they use memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.conformance.differences import TOO_BIG, differs, fails
from support.conformance.echo_service import Observed, Service, running
from support.websocket_probe import BINARY, CONTINUATION, PING, PONG, TEXT, Frame, Probe, fragments, frame

LIMIT = 1000  # bytes per message


@pytest.fixture(scope="module")
def service(kind: str) -> Iterator[Service]:
    with running(kind, message_limit=LIMIT) as service:
        yield service


def too_big(service: Service, probe: Probe, receiver: Observed) -> None:
    """Check that the connection fails with 1009 and that nothing is delivered."""
    assert fails(service, probe, receiver, TOO_BIG) == []
    assert receiver.messages == []


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_10_4_a_message_as_big_as_may_be_is_taken(service: Service, opcode: int):
    with service.probe() as probe:
        probe.send_frame(opcode, b"x" * LIMIT)
        assert probe.read_message() == Frame(opcode, b"x" * LIMIT)
        probe.send(*fragments(opcode, [b"x" * (LIMIT // 2)] * 2), frame(opcode, b"and the next"))
        assert probe.read_message() == Frame(opcode, b"x" * LIMIT)
        assert probe.read_message() == Frame(opcode, b"and the next")


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_10_4_a_frame_that_is_too_big_fails_the_connection(service: Service, opcode: int):
    with service.connect() as (probe, receiver):
        probe.send_frame(opcode, b"x" * (LIMIT + 1))
        too_big(service, probe, receiver)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("length", [LIMIT + 1, 65535, 65536, 1 << 32, (1 << 63) - 1])
def test_10_4_a_frame_is_refused_by_its_announced_length(service: Service, opcode: int, length: int):
    with service.connect() as (probe, receiver):
        waits_for_payload = differs(service, "an announced length is not judged")
        probe.send_frame(opcode, b"x" * (LIMIT + 1) if waits_for_payload else b"", length=length)
        too_big(service, probe, receiver)


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize("count", [2, 5, LIMIT + 1])
def test_10_4_a_message_that_is_too_big_in_fragments_fails_the_connection(service: Service, opcode: int, count: int):
    with service.connect() as (probe, receiver):
        parts = [b"x" * (LIMIT // count)] * count + [b"x" * count]
        *first, _ = fragments(opcode, [*parts, b""])  # the message never ends
        probe.send(*first)
        too_big(service, probe, receiver)


def test_10_4_control_frames_within_a_message_do_not_count(service: Service):
    with service.probe() as probe:
        probe.send_frame(BINARY, b"x" * (LIMIT // 2), fin=False)
        for _ in range(20):
            probe.send_frame(PING, b"x" * 125)
            assert probe.read_frame() == Frame(PONG, b"x" * 125)
        probe.send_frame(CONTINUATION, b"x" * (LIMIT // 2))
        assert probe.read_message() == Frame(BINARY, b"x" * LIMIT)


def test_10_4_the_limit_of_text_is_in_bytes(service: Service):
    with service.connect() as (probe, receiver):
        text = "😀" * (LIMIT // 4)
        probe.send_frame(TEXT, text.encode())
        assert probe.read_message() == Frame(TEXT, text.encode())
        probe.send_frame(TEXT, (text + "é").encode())
        if differs(service, "the limit of text is in characters"):
            assert probe.read_message() == Frame(TEXT, (text + "é").encode())
        else:
            assert fails(service, probe, receiver, TOO_BIG) == []
