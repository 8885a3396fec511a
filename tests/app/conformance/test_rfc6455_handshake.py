"""RFC 6455 §4.2: the server's handshake. It is Hypercorn's on both paths, except for extensions."""

from __future__ import annotations

import base64
import hashlib

import pytest
from support.conformance.echo_service import Observed, Service
from support.websocket_probe import TEXT, Frame, Probe, frame, upgrade_request

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # the RFC's example (§1.3)
GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def test_4_2_2_an_upgrade_is_answered_with_the_keys_digest(service: Service):
    with Probe(service.address) as probe:
        answer = probe.ask(upgrade_request("/", sec_websocket_key=KEY))
        assert answer.status == 101
        assert answer.headers["upgrade"].lower() == "websocket"
        assert answer.headers["connection"].lower() == "upgrade"
        digest = hashlib.sha1(f"{KEY}{GUID}".encode()).digest()
        assert (
            answer.headers["sec-websocket-accept"]
            == base64.b64encode(digest).decode()
            == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        )


@pytest.mark.parametrize(
    "headers",
    [{"upgrade": "WebSocket"}, {"connection": "keep-alive, Upgrade"}, {"connection": "upgrade"}, {"origin": "null"}],
    ids=str,
)
def test_4_2_1_header_values_are_read_as_http_reads_them(service: Service, headers: dict[str, str]):
    with Probe(service.address) as probe:
        assert probe.upgrade("/", **headers)


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_websocket_version": None},
        {"sec_websocket_version": "8"},
        {"sec_websocket_version": "14"},
        {"sec_websocket_key": None},
        {"sec_websocket_key": ""},
        {"sec_websocket_key": "bm90IHNpeHRlZW4="},  # not 16 bytes
        {"sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ"},  # not base64
        {"sec_websocket_key": f"{KEY}\r\nsec-websocket-key: {KEY}"},
        {"host": None},
        {"upgrade": None},
        {"upgrade": "h2c-or-so"},
        {"connection": None},
        {"connection": "keep-alive"},
    ],
    ids=str,
)
def test_4_2_1_a_handshake_that_is_not_whole_is_refused(service: Service, headers: dict[str, str | None]):
    with Probe(service.address) as probe:
        assert 400 <= probe.ask(upgrade_request("/", **headers)).status < 500


@pytest.mark.parametrize("request_line", [b"POST / HTTP/1.1", b"GET / HTTP/1.0"])
def test_4_2_1_a_request_that_can_not_be_upgraded_is_refused(service: Service, request_line: bytes):
    with Probe(service.address) as probe:
        request = upgrade_request("/").replace(b"GET / HTTP/1.1", request_line)
        assert 400 <= probe.ask(request).status < 500


@pytest.mark.parametrize("offer", ["permessage-deflate", "permessage-deflate; client_max_window_bits", "x-unknown"])
def test_9_1_an_extension_that_is_offered_is_declined(service: Service, offer: str):
    with Probe(service.address) as probe:
        answer = probe.ask(upgrade_request("/", sec_websocket_extensions=offer))
        assert answer.status == 101
        assert "sec-websocket-extensions" not in answer.headers
        probe.send_frame(TEXT, b"plain")
        assert probe.read_message() == Frame(TEXT, b"plain")


def test_4_2_2_a_subprotocol_that_is_offered_is_not_chosen(service: Service):
    with Probe(service.address) as probe:
        answer = probe.ask(upgrade_request("/", sec_websocket_protocol="chat, superchat"))
        assert answer.status == 101
        assert "sec-websocket-protocol" not in answer.headers


def test_4_1_frames_that_come_before_the_upgrade_is_answered_are_refused(service: Service):
    """A client must not send frames before the answer."""
    path, made = service.expect(Observed)
    with Probe(service.address) as probe:
        assert probe.ask(upgrade_request(path) + frame(TEXT, b"early")).status == 400
        with pytest.raises(EOFError):
            probe.read_frame()
    if made.done():
        assert made.result().messages == []
