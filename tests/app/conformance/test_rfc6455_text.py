"""RFC 6455 §5.6 and §8.1: a text message must be UTF-8 (RFC 3629), or the connection fails with 1007."""

from __future__ import annotations

import pytest
from support.conformance.differences import INVALID_TEXT, fails
from support.conformance.echo_service import Service
from support.websocket_probe import BINARY, CONTINUATION, PING, TEXT, Frame, fragments, frame

VALID = {
    "the last code point of each length": "\x7f\u07ff\uffff\U0010ffff".encode(),
    "the first code point of each length": "\x00\x80\u0800\U00010000".encode(),
    "around the surrogates": "\ud7ff\ue000".encode(),
    "noncharacters": "\ufffe\uffff\U0001fffe".encode(),
    "a byte order mark": "\ufeff".encode(),
    "combining characters": "e\u0301\u0323".encode(),
}
INVALID = {
    "a continuation byte alone": b"\x80",
    "two bytes, one missing": b"\xc3",
    "three bytes, one missing": b"\xe4\xb8",
    "four bytes, one missing": b"\xf0\x9f\x98",
    "cut by ASCII": b"\xe4\xb8a",
    "overlong slash, two bytes": b"\xc0\xaf",
    "overlong slash, three bytes": b"\xe0\x80\xaf",
    "overlong slash, four bytes": b"\xf0\x80\x80\xaf",
    "overlong zero": b"\xc0\x80",
    "the first surrogate": b"\xed\xa0\x80",
    "the last surrogate": b"\xed\xbf\xbf",
    "a surrogate pair": b"\xed\xa0\xbd\xed\xb8\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "five bytes": b"\xf8\x88\x80\x80\x80",
    "fe": b"\xfe",
    "ff": b"\xff",
    "late": b"good " * 1000 + b"\xff",
}
SPLIT = "aé中😀z".encode()


@pytest.mark.parametrize("text", VALID.values(), ids=VALID.keys())
def test_8_1_valid_utf_8_is_taken(service: Service, text: bytes):
    with service.probe() as probe:
        probe.send_frame(TEXT, text)
        assert probe.read_message() == Frame(TEXT, text)


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID.keys())
def test_8_1_text_that_is_not_utf_8_fails_the_connection(service: Service, text: bytes):
    with service.connect() as (probe, receiver):
        probe.send_frame(TEXT, text)
        assert fails(service, probe, receiver, INVALID_TEXT) == []
        assert receiver.messages == []


@pytest.mark.parametrize("text", INVALID.values(), ids=INVALID.keys())
def test_8_1_text_that_is_not_utf_8_in_fragments_fails_the_connection(service: Service, text: bytes):
    with service.connect() as (probe, receiver):
        probe.send(*fragments(TEXT, [b"good ", text[:1], text[1:]]))
        assert fails(service, probe, receiver, INVALID_TEXT) == []
        assert receiver.messages == []


@pytest.mark.parametrize("at", range(len(SPLIT) + 1))
def test_8_1_a_code_point_may_be_split_over_two_frames(service: Service, at: int):
    with service.probe() as probe:
        probe.send_frame(TEXT, SPLIT[:at], fin=False)
        probe.send_frame(PING)  # §5.4: even a control frame may come in between
        probe.send_frame(CONTINUATION, SPLIT[at:])
        probe.read_frame()
        assert probe.read_message() == Frame(TEXT, SPLIT)


def test_8_1_a_fragment_that_can_not_become_utf_8_fails_the_connection_at_once(service: Service):
    with service.connect() as (probe, receiver):
        probe.send_frame(TEXT, b"good \xff", fin=False)
        assert fails(service, probe, receiver, INVALID_TEXT) == []


@pytest.mark.parametrize("cut", [0, 5], ids=["at-once", "in-two-parts"])
def test_8_1_a_frame_that_can_not_become_utf_8_fails_the_connection_before_its_end(service: Service, cut: int):
    """See Autobahn's cases 6.4.3 and 6.4.4."""
    with service.connect() as (probe, receiver):
        begun = frame(TEXT, "κόσμε".encode() + b"\xf4\x90\x80\x80" + b"edited")[: -len(b"\x80\x80edited")]
        probe.send(begun[:cut])
        probe.send(begun[cut:])
        assert fails(service, probe, receiver, INVALID_TEXT) == []


def test_8_1_a_code_point_that_no_fragment_completes_fails_the_connection(service: Service):
    with service.connect() as (probe, receiver):
        probe.send(*fragments(TEXT, ["中".encode()[:2], b"", b""]))
        assert fails(service, probe, receiver, INVALID_TEXT) == []


def test_8_1_a_code_point_does_not_go_on_in_the_next_message(service: Service):
    with service.connect() as (probe, receiver):
        probe.send(frame(TEXT, b"\xc3"), frame(TEXT, b"\xa9"))
        assert fails(service, probe, receiver, INVALID_TEXT) == []
        assert receiver.messages == []


@pytest.mark.parametrize("data", INVALID.values(), ids=INVALID.keys())
def test_5_6_binary_may_be_anything(service: Service, data: bytes):
    with service.probe() as probe:
        probe.send_frame(BINARY, data)
        assert probe.read_message() == Frame(BINARY, data)
        probe.send(*fragments(BINARY, [data[:1], data[1:]]))
        assert probe.read_message() == Frame(BINARY, data)
