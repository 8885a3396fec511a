"""RFC 6455 §5.1 to §5.4 and §5.6: frames, masks, lengths, fragments."""

from __future__ import annotations

import pytest
from support.conformance.differences import PROTOCOL_ERROR, differs, fails
from support.conformance.echo_service import Service
from support.websocket_probe import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame, fragments, frame

LENGTHS = (0, 1, 125, 126, 127, 65535, 65536, 200_000)  # the edges of the three encodings, and beyond
RESERVED_OPCODES = (*range(0x3, 0x8), *range(0xB, 0x10))


def test_5_6_text_comes_as_text(service: Service):
    with service.connect() as (probe, receiver):
        probe.send_frame(TEXT, "Grüße, 😀".encode())
        assert probe.read_message() == Frame(TEXT, "Grüße, 😀".encode())
        assert receiver.messages == [(TEXT, "Grüße, 😀".encode())]


def test_5_6_binary_comes_as_binary(service: Service):
    with service.connect() as (probe, receiver):
        probe.send_frame(BINARY, bytes(range(256)))
        assert probe.read_message() == Frame(BINARY, bytes(range(256)))
        assert receiver.messages == [(BINARY, bytes(range(256)))]


@pytest.mark.parametrize("length", LENGTHS)
def test_5_6_two_texts_that_are_sent_together_come_as_two(service: Service, length: int):
    with service.connect() as (probe, receiver):
        service.call(receiver.socket.send_texts, b"a" * length, b"b")
        assert probe.read_message() == Frame(TEXT, b"a" * length)
        assert probe.read_message() == Frame(TEXT, b"b")


@pytest.mark.parametrize("opcode", [TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG])
@pytest.mark.parametrize("payload", [b"", b"\x03\xe8"])
def test_5_1_a_frame_that_is_not_masked_fails_the_connection(service: Service, opcode: int, payload: bytes):
    with service.connect() as (probe, receiver):
        probe.send_frame(opcode, payload, mask=None)
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []
        assert receiver.messages == []


@pytest.mark.parametrize("mask", [bytes(4), b"\xff\xff\xff\xff", b"\x00\x01\x02\x03"])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 7, 8, 1000])
def test_5_3_any_mask_is_taken_off(service: Service, mask: bytes, length: int):
    with service.probe() as probe:
        payload = bytes(number % 251 for number in range(length))
        probe.send_frame(BINARY, payload, mask=mask)
        assert probe.read_message() == Frame(BINARY, payload)


@pytest.mark.parametrize("rsv", range(1, 8))
@pytest.mark.parametrize("opcode", [TEXT, BINARY, PING, PONG, CLOSE])
def test_5_2_a_reserved_bit_fails_the_connection(service: Service, opcode: int, rsv: int):
    with service.connect() as (probe, receiver):
        probe.send_frame(opcode, rsv=rsv)
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []
        assert receiver.messages == []


@pytest.mark.parametrize("rsv", [4, 2, 1])
def test_5_2_a_reserved_bit_in_a_later_fragment_fails_the_connection(service: Service, rsv: int):
    with service.connect() as (probe, receiver):
        probe.send(frame(TEXT, b"a", fin=False), frame(CONTINUATION, b"b", rsv=rsv))
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []
        assert receiver.messages == []


@pytest.mark.parametrize("opcode", RESERVED_OPCODES)
@pytest.mark.parametrize("fin", [True, False])
def test_5_2_a_reserved_opcode_fails_the_connection(service: Service, opcode: int, fin: bool):
    with service.connect() as (probe, receiver):
        probe.send_frame(opcode, b"data", fin=fin)
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []
        assert receiver.messages == []


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_5_2_a_payload_of_any_length_encoding_is_taken_and_sent(service: Service, opcode: int, length: int):
    with service.probe() as probe:
        probe.send_frame(opcode, b"x" * length)
        assert probe.read_message() == Frame(opcode, b"x" * length)


@pytest.mark.parametrize(("length", "bits"), [(0, 16), (1, 16), (125, 16), (0, 64), (125, 64), (126, 64), (65535, 64)])
def test_5_2_a_length_that_is_not_in_its_shortest_form_fails_the_connection(service: Service, length: int, bits: int):
    """The minimal number of bytes must be used."""
    with service.connect() as (probe, receiver):
        probe.send_frame(BINARY, b"x" * length, bits=bits)
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []
        assert receiver.messages == []


@pytest.mark.parametrize("length", [1 << 63, (1 << 63) + 5, (1 << 64) - 1])
def test_5_2_a_64_bit_length_with_its_most_significant_bit_fails_the_connection(service: Service, length: int):
    with service.connect() as (probe, receiver):
        probe.send_frame(BINARY, b"hello", length=length)
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
@pytest.mark.parametrize(
    "parts",
    [[b"one ", b"two ", b"three"], [b"", b"a"], [b"a", b""], [b"", b"", b""], [b"a", b"", b"b"], [b"x" * 70_000] * 3],
    ids=["three", "first-empty", "last-empty", "all-empty", "middle-empty", "long"],
)
def test_5_4_fragments_are_one_message_in_order(service: Service, opcode: int, parts: list[bytes]):
    with service.connect() as (probe, receiver):
        probe.send(*fragments(opcode, parts))
        assert probe.read_message() == Frame(opcode, b"".join(parts))
        assert receiver.messages == [(opcode, b"".join(parts))]


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
def test_5_4_fragments_may_have_one_byte_each(service: Service, opcode: int):
    text = "naïve 中文 😀".encode()
    with service.probe() as probe:
        probe.send(*fragments(opcode, [bytes((byte,)) for byte in text]))
        assert probe.read_message() == Frame(opcode, text)


def test_5_4_fragments_may_come_one_by_one(service: Service):
    with service.probe() as probe:
        *first, last = fragments(TEXT, [b"one ", b"two ", b"three"])
        for part in first:
            probe.send(part, frame(PING))
            assert probe.read_frame() == Frame(PONG, b"")  # so that the frames are read separately
        probe.send(last)
        assert probe.read_message() == Frame(TEXT, b"one two three")


def test_5_4_messages_after_a_fragmented_one_are_messages_of_their_own(service: Service):
    with service.probe() as probe:
        probe.send(*fragments(TEXT, [b"a", b"b"]), frame(BINARY, b"c"), *fragments(BINARY, [b"d", b"e"]), frame(TEXT))
        assert [probe.read_message() for _ in range(4)] == [
            Frame(TEXT, b"ab"),
            Frame(BINARY, b"c"),
            Frame(BINARY, b"de"),
            Frame(TEXT, b""),
        ]


@pytest.mark.parametrize("fin", [True, False])
@pytest.mark.parametrize("payload", [b"", b"data"])
def test_5_4_a_continuation_of_nothing_fails_the_connection(service: Service, fin: bool, payload: bytes):
    with service.connect() as (probe, receiver):
        probe.send_frame(CONTINUATION, payload, fin=fin)
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []
        assert receiver.messages == []


def test_5_4_a_continuation_after_a_finished_message_fails_the_connection(service: Service):
    with service.connect() as (probe, receiver):
        probe.send(*fragments(TEXT, [b"a", b"b"]))
        assert probe.read_message() == Frame(TEXT, b"ab")
        probe.send_frame(CONTINUATION, b"c")
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []
        assert receiver.messages == [(TEXT, b"ab")]


@pytest.mark.parametrize("first", [TEXT, BINARY])
@pytest.mark.parametrize("second", [TEXT, BINARY])
@pytest.mark.parametrize("fin", [True, False])
def test_5_4_a_new_message_within_a_fragmented_one_fails_the_connection(
    service: Service, first: int, second: int, fin: bool
):
    with service.connect() as (probe, receiver):
        probe.send(frame(first, b"a", fin=False), frame(second, b"b", fin=fin), frame(CONTINUATION, b"c"))
        assert fails(service, probe, receiver, PROTOCOL_ERROR) == []
        assert receiver.messages == []


def test_5_4_control_frames_between_fragments_are_answered_at_once(service: Service):
    with service.probe() as probe:
        probe.send_frame(TEXT, b"one ", fin=False)
        probe.send_frame(PING, b"now")
        assert probe.read_frame() == Frame(PONG, b"now")
        probe.send(frame(PONG, b"unasked"), frame(CONTINUATION, b"two ", fin=False), frame(PING, b"again"))
        assert probe.read_frame() == Frame(PONG, b"again")
        probe.send_frame(CONTINUATION, b"three")
        assert probe.read_message() == Frame(TEXT, b"one two three")


def test_7_1_7_nothing_behind_a_broken_frame_is_delivered(service: Service):
    with service.connect() as (probe, receiver):
        probe.send(frame(TEXT, b"before"), frame(0x3), frame(TEXT, b"behind"), frame(PING), frame(CLOSE))
        frames = fails(service, probe, receiver, PROTOCOL_ERROR)
        assert receiver.messages == [(TEXT, b"before")]
        assert frames in ([], [Frame(TEXT, b"before")])  # the echo may be too late


BROKEN = {
    "a reserved bit": frame(TEXT, b"x", rsv=2),
    "a reserved data opcode": frame(0x5, b"x"),
    "a reserved control opcode": frame(0xB, b"x"),
    "a continuation of nothing": frame(CONTINUATION, b"x", fin=False),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("message", [[frame(TEXT, b"said before")], fragments(TEXT, [b"said ", b"before"])])
def test_7_1_7_what_came_before_a_broken_frame_is_answered_first(service: Service, broken: bytes, message: list[bytes]):
    """In one segment and with a ping, as in Autobahn's cases 3.2 to 3.4, 4.1.3 to 4.1.5, 4.2.3 to 4.2.5 and 5.15."""
    with service.connect() as (probe, receiver):
        probe.send(*message, broken, frame(PING))
        echoed = fails(service, probe, receiver, PROTOCOL_ERROR)
        assert receiver.messages == [(TEXT, b"said before")]
        if not differs(service, "echoes are cut off by a broken frame"):
            assert echoed == [Frame(TEXT, b"said before")]
