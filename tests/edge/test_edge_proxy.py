"""What reaches the backend, what does not, and what the caller hears when the backend is gone."""

from __future__ import annotations

import contextlib
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from callgate.core.gate.signature import edge_proof
from callgate.core.wire import twiml
from demo.local_edge import LOOPBACK, LocalEdge
from support.edge.backends import BROKEN, Backend, failing
from support.edge.probes import SIGNED, TIMEOUT, Answer, FirstStart, ask, assert_echoes, open_stream, wait_for
from support.serving import serving
from websockets.exceptions import InvalidStatus

TOKEN = "Q0FURV9TRUNSRVRfVE9LRU4"
HUMAN = "+15551230000"
KEY = "the-edges-key"
PROOF = f"proof={edge_proof(KEY)}"
WEBHOOKS = ["/incoming-call", "/call-interrupted", "/call-transferred", "/call-status", "/stream-status", "/amd-status"]

Beside = Callable[..., AbstractContextManager[LocalEdge]]


def log_lines(edge: LocalEdge) -> list[dict[str, object]]:
    return [json.loads(line) for line in edge.access_log.read_text().splitlines()]


def assert_is_twiml(answer: Answer, expected: str) -> None:
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/xml"
    assert list(ET.fromstring(answer.body).itertext()) == list(ET.fromstring(expected).itertext())
    assert [verb.tag for verb in ET.fromstring(answer.body)] == [verb.tag for verb in ET.fromstring(expected)]


def test_backend_is_told_who_asks_whatever_the_client_claims(edge: LocalEdge) -> None:
    claims = {"X-Forwarded-For": "10.1.2.3", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "other.example"}
    claims |= {"Forwarded": "for=10.1.2.3", "X-Request-ID": "forged"}
    told = json.loads(ask(edge, "POST", "/incoming-call?a=1", body=b"CallSid=CA00", headers=claims).body)

    assert (told["method"], told["path"], told["body"]) == ("POST", "/incoming-call?a=1", "CallSid=CA00")
    headers = told["headers"]
    assert headers["Host"] == edge.domain
    assert headers["X-Forwarded-For"] == LOOPBACK
    assert headers["X-Forwarded-Proto"] == "https"
    assert "X-Forwarded-Host" not in headers
    assert "Forwarded" not in headers
    assert re.fullmatch("[0-9a-f]{32}", headers["X-Request-ID"])
    wait_for(lambda: any(line["request_id"] == headers["X-Request-ID"] for line in log_lines(edge)))


def test_websocket_goes_through_without_extensions(edge: LocalEdge) -> None:
    with open_stream(edge) as stream:
        headers = json.loads(stream.recv())
        assert headers["Upgrade"] == "websocket"
        assert headers["Connection"] == "upgrade"
        assert "Sec-WebSocket-Extensions" not in headers
        assert_echoes(stream, "x" * 60_000)


@pytest.mark.parametrize("path", ["/", "/incoming-call", "/call-status", "/calls", "/anything"])
@pytest.mark.parametrize("upgrade", ["h2c", "websocket"])
def test_no_other_upgrade_reaches_the_backend(edge: LocalEdge, path: str, upgrade: str) -> None:
    asked = {"Upgrade": upgrade, "Connection": "Upgrade, HTTP2-Settings", "HTTP2-Settings": "AAMAAABkAARAAAAAAAIAAAAA"}
    headers = json.loads(ask(edge, "GET", path, headers=asked).body)["headers"]
    assert "Upgrade" not in headers
    assert "Connection" not in headers


def raw(edge: LocalEdge, request: str) -> bytes:
    with edge.connect(timeout=TIMEOUT) as client:
        client.sendall(request.encode())
        return client.makefile("rb").readline()


@pytest.mark.parametrize(
    ("version", "upgrade"), [("1.0", "websocket"), ("1.1", "h2c"), ("1.1", ""), ("1.1", "websocket, h2c")]
)
def test_a_stream_that_is_asked_for_otherwise_is_none(edge: LocalEdge, version: str, upgrade: str) -> None:
    """RFC 6455, section 4.2.1."""
    signature = "".join(f"{name}: {value}\r\n" for name, value in SIGNED.items())
    head = f"GET /media-stream/a-token HTTP/{version}\r\nHost: {edge.domain}\r\n{signature}"
    head += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    assert b" 426 " in raw(edge, f"{head}Upgrade: {upgrade}\r\nConnection: Upgrade\r\n\r\n")


@pytest.mark.parametrize("protocol", ["a-protocol", "\xff", "é"])
def test_no_subprotocol_is_offered_to_the_backend(edge: LocalEdge, protocol: str) -> None:
    """A non-ASCII subprotocol would make a backend fail, and a failed backend gets no requests for a while."""
    fields = {"Host": edge.domain, **SIGNED, "Upgrade": "websocket", "Connection": "Upgrade"}
    fields |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}
    fields["Sec-WebSocket-Protocol"] = protocol
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with edge.connect(timeout=TIMEOUT) as client:
        client.sendall(f"GET /media-stream/t HTTP/1.1\r\n{head}\r\n".encode("latin-1"))
        told = b""  # the backend's answer, and its echo of the request's headers
        while b"Served-By" not in told:
            told += (piece := client.recv(4096))
            assert piece, told
    assert told.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Protocol" not in told


def test_a_refused_upgrade_leaves_no_connection_behind_that_others_are_served_on(beside: Beside) -> None:
    """The backend closes the connection; even if it did not, nothing else is sent on it."""

    class Refusing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # so that it keeps connections open

        def do_GET(self) -> None:
            (upgraded if "Upgrade" in self.headers else others).add(self.client_address)
            self.send_response(403)
            self.send_header("Content-Length", "0")
            self.end_headers()

    upgraded: set[object] = set()
    others: set[object] = set()
    server = ThreadingHTTPServer((LOOPBACK, 0), Refusing)
    with serving(server), beside(server.server_port) as edge:
        for _ in range(5):
            refused = ask(edge, "GET", "/media-stream/t", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
            assert refused.status == 403
            ask(edge, "GET", "/call-status")
    assert len(upgraded) == 5
    assert 1 <= len(others) < 5
    assert not upgraded & others


NOT_SIGNATURES = [None, "", "x", "A" * 28, "A" * 26 + "==", "A" * 27 + "=\t=", "A" * 43, "*" * 28]


@pytest.mark.parametrize("path", [*WEBHOOKS, "/media-stream", "/media-stream/a-token"])
def test_what_carries_no_signature_of_twilios_never_reaches_the_backend(beside: Beside, nobody: int, path: str) -> None:
    with beside(nobody) as edge:
        for signature in NOT_SIGNATURES:
            headers = {} if signature is None else {"X-Twilio-Signature": signature}
            assert ask(edge, "POST", path, body=b"a=1", headers=headers, signed=False).status == 403
        wait_for(lambda: len(log_lines(edge)) == len(NOT_SIGNATURES))
        assert {line["upstream"] for line in log_lines(edge)} == {""}


@pytest.mark.parametrize("size", [27, 43])
def test_what_may_be_signed_is_for_the_backend_to_check(edge: LocalEdge, size: int) -> None:
    signature = {"X-Twilio-Signature": "+/0aZ" + "b" * (size - 5) + "="}
    assert ask(edge, "POST", "/call-status", body=b"a=1", headers=signature).status == 200


@pytest.mark.parametrize(
    "path", ["/metrics", "/readyz", "/metrics/", "/readyz?x", "//metrics", "/%6detrics", "/a/../readyz"]
)
def test_what_is_for_the_operator_is_not_public(edge: LocalEdge, path: str) -> None:
    assert ask(edge, "GET", path).status == 404


def test_liveness_is_public(edge: LocalEdge) -> None:
    assert ask(edge, "GET", "/healthz").status == 200


def test_large_body_is_refused(edge: LocalEdge) -> None:
    assert ask(edge, "POST", "/incoming-call", body=b"x" * 64 * 1024).status == 200
    assert ask(edge, "POST", "/incoming-call", body=b"x" * (64 * 1024 + 1)).status == 413


def test_large_headers_are_refused(edge: LocalEdge) -> None:
    answer = ask(edge, "GET", "/", headers={"X-Large": "x" * 9000})
    assert 400 <= answer.status < 500


def test_answers_carry_the_security_headers_and_no_version(edge: LocalEdge) -> None:
    for path in ("/", "/metrics"):
        headers = ask(edge, "GET", path).headers
        assert headers["strict-transport-security"] == "max-age=63072000"
        assert headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"[0-9]", ask(edge, "GET", "/metrics").headers["server"])


def asked_to_wait(answer: Answer) -> str | None:
    """Return where Twilio is to ask again, or None if the answer does not tell it to wait."""
    document = ET.fromstring(answer.body)
    if [verb.tag for verb in document] != ["Say", "Pause", "Redirect"]:
        return None
    assert (answer.status, answer.headers["content-type"]) == (200, "text/xml")
    return document.findtext("./Redirect")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/incoming-call", "/call-interrupted?resumed=2", "/call-transferred?resumed=2"])
def test_caller_is_asked_to_wait_while_the_backend_is_down_and_then_hears_an_apology(
    beside: Beside, nobody: int, method: str, path: str
) -> None:
    with beside(nobody) as edge:
        asked, address = 0, path
        while (again := asked_to_wait(answer := ask(edge, method, address))) is not None:
            asked, address = asked + 1, again
            resumed = "2" if "resumed" in path else "0"
            assert again == f"{path.partition('?')[0]}?resumed={resumed}&waited={asked}"
    assert 5 <= asked <= 10  # of about three seconds each
    assert_is_twiml(answer, twiml.apologise(None))


@pytest.mark.parametrize("status", ["completed", "answered", "busy", "no-answer", "failed", "canceled"])
def test_what_happened_so_far_is_in_every_address_that_is_asked_next(beside: Beside, nobody: int, status: str) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    body = f"CallSid=CA00&DialCallStatus={status}&DialCallDuration=0".encode()
    with beside(nobody, EDGE_KEY=KEY) as edge:
        asked = "/call-transferred?resumed=1&transfers=2&sendings=13"
        first = asked_to_wait(ask(edge, "POST", f"{asked}&{PROOF}", body=body, headers=form))
        assert first == f"{asked}&dialed={status}&{PROOF}&waited=1"
        again = asked_to_wait(ask(edge, "POST", first, body=b"CallSid=CA00", headers=form))
    assert again == f"{asked}&dialed={status}&{PROOF}&waited=2"


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("transfers=x&sendings=-1&dialed=%3CDial%3E", b"DialCallStatus=nonsense"),
        ("transfers=&sendings=123&dialed=busyx", b"XDialCallStatus=busy"),
        ("transfers=1%26a&sendings=%27", b"DialCallStatus=busy%3C"),
        (f"proof={'0' * 32}&proof=%3CDial%3E", b""),
    ],
)
def test_nothing_else_that_is_said_is_passed_on(beside: Beside, nobody: int, query: str, body: bytes) -> None:
    with beside(nobody) as edge:
        again = asked_to_wait(ask(edge, "POST", f"/call-transferred?{query}", body=body))
    assert again == "/call-transferred?resumed=0&waited=1"


@pytest.mark.parametrize("query", ["waited=99", "waited=", "waited=-1", "waited=%27", "resumed=x&waited=9"])
def test_a_wait_that_was_never_asked_for_is_none(beside: Beside, nobody: int, query: str) -> None:
    with beside(nobody) as edge:
        again = asked_to_wait(ask(edge, "POST", f"/call-interrupted?{query}"))
    assert again in (None, "/call-interrupted?resumed=0&waited=1")


def test_caller_is_put_through_when_the_backend_stays_down(beside: Beside, nobody: int) -> None:
    with beside(nobody, FALLBACK_DIAL="+1 (555) 123-0000", EDGE_KEY=f"another, {KEY}") as edge:
        address, asked = f"/incoming-call?{PROOF}", 0
        while (again := asked_to_wait(answer := ask(edge, "POST", address))) is not None:
            asked, address = asked + 1, again
    assert asked == 8
    assert_is_twiml(answer, twiml.apologise(HUMAN))
    assert HUMAN.encode() in answer.body


@pytest.mark.parametrize("path", ["/incoming-call", "/call-interrupted", "/call-transferred", "//incoming-call"])
@pytest.mark.parametrize("key", ["", KEY])
def test_nobody_else_is_told_whom_callers_are_put_through_to(beside: Beside, nobody: int, path: str, key: str) -> None:
    shown = ["", "&proof=", "&proof=1", f"&proof={edge_proof('')}", f"&proof={edge_proof('x')}", f"&{PROOF}0"]
    with beside(nobody, FALLBACK_DIAL=HUMAN, EDGE_KEY=key) as edge:
        for method in ("GET", "POST"):
            for query in shown:
                for waited in ("", "7", "8", "9", "99"):
                    answer = ask(edge, method, f"{path}?waited={waited}{query}")
                    assert HUMAN.encode() not in answer.body
                    assert b"Dial" not in answer.body


def test_caller_is_asked_to_wait_when_the_backend_fails(beside: Beside) -> None:
    with contextlib.closing(Backend(failing)) as backend, beside(backend.port) as edge:
        assert asked_to_wait(ask(edge, "POST", "/incoming-call"))


def test_caller_is_asked_to_wait_before_twilio_gives_up_on_a_silent_backend(beside: Beside, silent: int) -> None:
    with beside(silent) as edge:
        assert asked_to_wait(ask(edge, "POST", "/incoming-call"))
        wait_for(lambda: len(log_lines(edge)) == 1)
        [line] = log_lines(edge)
    assert (line["status"], line["upstream_status"]) == (200, "504")
    assert float(str(line["seconds"])) < 15  # Twilio's limit; see snippets/proxy.conf


def test_other_paths_say_that_the_backend_is_down(beside: Beside, nobody: int) -> None:
    with beside(nobody) as edge:
        assert ask(edge, "POST", "/call-status").status == 502
        with pytest.raises(InvalidStatus, match="502"), open_stream(edge):
            pass


def test_failure_of_other_paths_is_the_backends_own(edge: LocalEdge) -> None:
    answer = ask(edge, "POST", BROKEN)
    assert (answer.status, answer.headers["content-type"]) == (500, "application/json; charset=utf-8")


@pytest.mark.parametrize(
    "path",
    [
        f"/media-stream/{TOKEN}",
        f"//media-stream/{TOKEN}",
        f"/%6dedia-stream/{TOKEN}",
        f"/Media-Stream/{TOKEN}",
        f"/some/path/media-stream/{TOKEN}",
        f"/media-stream/one/{TOKEN}/two",
        f"/incoming-call?token={TOKEN}",
    ],
)
@pytest.mark.parametrize("tls", [True, False])
def test_no_token_reaches_a_log(beside: Beside, backend: Backend, nobody: int, path: str, tls: bool) -> None:
    for port in (backend.port, nobody):
        with beside(port) as edge:
            for method, body in (("GET", None), ("POST", b"x" * 100_000)):
                headers = {"Referer": f"https://{edge.domain}/media-stream/{TOKEN}", "Cookie": TOKEN}
                ask(edge, method, path, tls=tls, body=body, headers=headers)
            wait_for(lambda edge=edge: len(log_lines(edge)) == 2)  # type: ignore[misc]
            assert TOKEN not in edge.access_log.read_text()
            assert TOKEN not in edge.error_log.read_text()


def test_missing_certificate_is_in_the_error_log(first_start: FirstStart) -> None:
    assert "cannot load certificate" in first_start.edge.error_log.read_text()


def test_lost_backend_is_seen_in_the_access_log(beside: Beside, nobody: int) -> None:
    with beside(nobody) as edge:
        ask(edge, "GET", f"/media-stream/{TOKEN}", headers={"Upgrade": "websocket", "Connection": "Upgrade"})
        wait_for(lambda: len(log_lines(edge)) == 1)
        [line] = log_lines(edge)
    assert (line["path"], line["upstream_status"]) == ("/media-stream/***", "502")


def test_calls_go_to_the_backend_that_has_the_fewest(beside: Beside) -> None:
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(contextlib.closing(Backend())).port for _ in range(2)]
        edge = stack.enter_context(beside(ports[0], EDGE_BACKEND=" ".join(f"{LOOPBACK}:{port}" for port in ports)))
        served: dict[int, list[contextlib.ExitStack]] = {port: [] for port in ports}

        def call() -> int:
            line = stack.enter_context(contextlib.ExitStack())
            port = int(json.loads(line.enter_context(open_stream(edge)).recv())["Served-By"])
            served[port].append(line)
            return port

        for _ in range(6):
            call()
        assert [len(lines) for lines in served.values()] == [3, 3]
        for line in served[ports[0]]:
            line.close()
        wait_for(lambda: len(log_lines(edge)) == 3)  # nginx has noticed that they are over
        assert [call() for _ in range(3)] == [ports[0]] * 3
