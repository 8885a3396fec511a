"""What is served: only this domain, only over TLS, only in a secure version."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from demo.local_edge import LOOPBACK, LocalEdge, find_program
from support.edge.backends import Backend
from support.edge.probes import ask, handshake, open_stream, plain

WEBHOOKS = ["/incoming-call", "/call-interrupted", "/call-transferred", "/call-status", "/stream-status", "/amd-status"]
WEBHOOKS += ["/test-call-realtime", "/calls", "/calls/CA1"]
STREAMS = ["/media-stream", "/media-stream/a-token"]


@pytest.mark.parametrize("name", ["other.example", "www.callgate.example", "callgate.example.other.example"])
def test_handshake_with_an_unknown_name_is_refused(edge: LocalEdge, name: str) -> None:
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        handshake(edge, name)


def test_handshake_without_a_name_is_refused(edge: LocalEdge) -> None:
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        handshake(edge, None)


def test_handshake_without_a_name_is_accepted_where_names_are_not_required(
    beside: Callable[..., AbstractContextManager[LocalEdge]], backend: Backend
) -> None:
    with beside(backend.port, EDGE_REQUIRE_SNI="off") as edge:
        with handshake(edge, None) as client:
            assert client.getpeercert(binary_form=True) is not None
        with pytest.raises(ssl.SSLError, match="alert"):
            handshake(edge, "other.example")


@pytest.mark.parametrize("host", ["other.example", LOOPBACK, "www.callgate.example"])
def test_unknown_host_gets_no_answer_on_port_80(edge: LocalEdge, host: str) -> None:
    with pytest.raises(ConnectionResetError):
        ask(edge, "GET", "/", tls=False, host=host)


def test_request_without_a_host_gets_no_answer_on_port_80(edge: LocalEdge) -> None:
    with plain(edge.http_port) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            client.recv(100)


def test_unknown_host_behind_our_name_in_the_handshake_gets_no_page(edge: LocalEdge) -> None:
    assert ask(edge, "GET", "/", host="other.example").status == 421


def test_tls_1_1_is_refused(edge: LocalEdge) -> None:
    options = ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-servername", edge.domain]
    done = subprocess.run(
        [find_program("openssl"), "s_client", *options, "-connect", f"{LOOPBACK}:{edge.https_port}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert "alert protocol version" in done.stderr


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_page_asked_for_in_the_clear_is_redirected_to_https(edge: LocalEdge, method: str) -> None:
    answer = ask(edge, method, "/some/page?with=query", tls=False)
    assert answer.status == 301
    assert answer.headers["location"] == f"https://{edge.domain}/some/page?with=query"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", WEBHOOKS + STREAMS)
def test_what_twilio_asks_for_is_never_redirected(edge: LocalEdge, method: str, path: str) -> None:
    answer = ask(edge, method, path, tls=False, body=b"CallSid=CA00" if method == "POST" else None)
    assert answer.status == 403
    assert "location" not in answer.headers
    assert f"use https://{edge.domain}" in answer.body.decode()


@pytest.mark.parametrize("path", WEBHOOKS)
def test_what_twilio_asks_for_reaches_the_backend_over_tls(edge: LocalEdge, path: str) -> None:
    answer = ask(edge, "POST", path, body=b"CallSid=CA00")
    assert answer.status == 200
    assert json.loads(answer.body)["path"] == path


@pytest.mark.parametrize("path", [*STREAMS, "/media-stream/a-proof/a-token"])
def test_streams_reach_the_backend_over_tls(edge: LocalEdge, path: str) -> None:
    with open_stream(edge, path) as stream:
        assert json.loads(stream.recv())["Upgrade"] == "websocket"


def test_form_sent_in_the_clear_is_never_redirected(edge: LocalEdge) -> None:
    answer = ask(edge, "POST", "/any/path", tls=False, body=b"a=1")
    assert answer.status == 403
    assert "location" not in answer.headers


def test_folder_of_challenges_is_not_listed(edge: LocalEdge) -> None:
    assert ask(edge, "GET", "/.well-known/acme-challenge/", tls=False).status == 403
    assert ask(edge, "GET", "/.well-known/acme-challenge/not-there", tls=False).status == 404
    assert ask(edge, "GET", "/.well-known/acme-challenge/../../../ca.pem", tls=False).status != 200
