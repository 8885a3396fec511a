"""The seam into the installed Hypercorn: it hands its connections over; where it doesn't, the ordinary path serves."""

from __future__ import annotations

import functools
import logging
from importlib.metadata import version

import h2.config
import h2.connection
import h2.events
import hypercorn.protocol
import pytest
from callgate import takeover
from callgate.asgi_stream import AsgiStream
from callgate.websocket_server import WebSocketServer
from echo_service import Observed, Service, running
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from websocket_probe import CLOSE, DEADLINE, TEXT, Frame, Probe, close_payload, frame


def echoes(service: Service, text: bytes) -> Observed:
    """A connection that sends a message, gets it back, and closes. Returns its receiver."""
    with service.connect() as (probe, receiver):
        probe.send_frame(TEXT, text)
        assert probe.read_message() == Frame(TEXT, text)
        probe.send_frame(CLOSE, close_payload(1000))
        assert probe.read_to_end()[1].code == 1000
        receiver.closed()
    return receiver


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.fixture(autouse=True)
def nothing_was_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(takeover, "_warned", set())


@pytest.mark.parametrize("kind", ["fast", "fast-asyncio"])
def test_the_installed_hypercorn_hands_its_connections_over(kind: str, caplog: pytest.LogCaptureFixture):
    with running(kind) as service:
        receiver = echoes(service, b"taken")
    found = type(receiver.socket)
    assert found is WebSocketServer, (
        f"Hypercorn {version('hypercorn')} is no longer as callgate.takeover knows it ({'; '.join(warnings(caplog))}): "
        "media streams would run on the ordinary path. Adapt callgate.takeover to it, or pin an older Hypercorn."
    )
    assert warnings(caplog) == []


def test_without_the_takeover_hypercorn_serves_and_says_why_once(caplog: pytest.LogCaptureFixture):
    with running("ordinary") as service:
        assert [type(echoes(service, b"left").socket) for _ in range(3)] == [AsgiStream] * 3
    assert len(warnings(caplog)) == 1


class OtherProtocol(H11Protocol):
    """Hypercorn's, changed in who knows what."""


def another_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hypercorn.protocol, "H11Protocol", OtherProtocol)


def another_way_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = WSStream.__init__

    def begin_otherwise(stream: WSStream, *args: object) -> None:
        begin(stream, *args)
        stream.send = functools.partial(stream.send)

    monkeypatch.setattr(WSStream, "__init__", begin_otherwise)


@pytest.mark.parametrize("change", [another_protocol, another_way_to_send])
def test_another_hypercorn_goes_on_serving_itself_with_one_warning(
    change, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    change(monkeypatch)
    with running("fast") as service:
        assert [type(echoes(service, b"left").socket) for _ in range(3)] == [AsgiStream] * 3
    (warning,) = warnings(caplog)
    assert "ordinary path" in warning


def test_installing_it_again_changes_nothing():
    with running("fast") as service:
        takeover.install()
        assert type(echoes(service, b"taken").socket) is WebSocketServer


def test_a_websocket_over_http_2_is_served_by_hypercorn_with_one_warning(caplog: pytest.LogCaptureFixture):
    """RFC 8441: it shares its connection with other streams."""
    with running("fast") as service:
        for _ in range(2):
            path, made = service.expect(Observed)
            with Probe(service.address) as probe:
                assert echo_over_http_2(probe, path, frame(TEXT, b"left")) == bytes((0x80 | TEXT, 4)) + b"left"
            receiver = made.result(DEADLINE)
            receiver.closed()
            assert type(receiver.socket) is AsgiStream
    (warning,) = warnings(caplog)
    assert "HTTP/2" in warning


def echo_over_http_2(probe: Probe, path: str, data: bytes) -> bytes:
    """Open a WebSocket by an extended CONNECT (RFC 8441 §4), send bytes, and return the first that come back."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    client.send_headers(
        1,
        [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "voice.example.com"),
            ("sec-websocket-version", "13"),
        ],
    )
    while True:
        probe.send(client.data_to_send())
        for event in client.receive_data(probe.socket.recv(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                assert dict(event.headers or [])[b":status"] == b"200"
                client.send_data(1, data)
            elif isinstance(event, h2.events.DataReceived):
                return bytes(event.data or b"")
