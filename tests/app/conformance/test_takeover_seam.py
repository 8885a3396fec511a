"""The hook into the installed Hypercorn: connections are taken over; if that fails, the ordinary path serves them."""

from __future__ import annotations

import functools
import logging
from importlib.metadata import version

import hypercorn.protocol
import pytest
from callgate.websocket.on_hypercorn import takeover
from callgate.websocket.on_hypercorn.asgi_stream import AsgiStream
from callgate.websocket.server import WebSocketServer
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.protocol.ws_stream import WSStream
from support.conformance.echo_service import Observed, Service, running
from support.websocket_probe import CLOSE, TEXT, Frame, close_payload


def echoes(service: Service, text: bytes) -> Observed:
    """Send a message, receive its echo, and close. Return the connection's receiver."""
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
        f"Hypercorn {version('hypercorn')} is no longer as takeover knows it ({'; '.join(warnings(caplog))}): "
        "media streams would run on the ordinary path. Adapt takeover to it, or pin an older Hypercorn."
    )
    assert warnings(caplog) == []


def test_without_the_takeover_hypercorn_serves_and_says_why_once(caplog: pytest.LogCaptureFixture):
    with running("ordinary") as service:
        assert [type(echoes(service, b"left").socket) for _ in range(3)] == [AsgiStream] * 3
    assert len(warnings(caplog)) == 1


class OtherProtocol(H11Protocol):
    """Hypercorn's protocol class with an unknown change."""


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
