"""Further names beside DOMAIN: all are served alike, or people are sent to DOMAIN; and no other name is served."""

from __future__ import annotations

import contextlib
import json
import ssl
from collections.abc import Iterator

import pytest
from cryptography import x509
from demo.local_edge import LocalEdge
from support.edge.backends import Backend
from support.edge.pairs import Authority
from support.edge.probes import Answer, ask, handshake, open_stream

DOMAIN = "voice.callgate.example"
NAMES = ["www.callgate.example", "voice.example.org", "any.wild.example", "1-2.WILD.example"]
EXTRA = "www.callgate.example,voice.example.org   *.Wild.example. ,www.callgate.example VOICE.callgate.example"
UNKNOWN = ["callgate.example", "wild.example", "too.deep.wild.example", "other.example", "voice.callgate.example.org"]
UNKNOWN += ["xvoice.example.org", "anywild.example"]
WEBHOOKS = [
    "/incoming-call",
    "/call-interrupted",
    "/call-transferred",
    "/call-status",
    "/media-stream/a-token",
    "/calls",
]
LONGEST = ".".join(["a" * 63, "b" * 63, "c" * 63, "d" * 61])


@contextlib.contextmanager
def started(backend: Backend, domain: str = DOMAIN, **environ: str) -> Iterator[LocalEdge]:
    """Start an edge whose certificate holds all names."""
    with LocalEdge(domain, environ={"EXTRA_DOMAINS": EXTRA, **environ}) as edge:
        authority, current = Authority(), edge.published / domain / "current"
        authority.issue(domain, "www.callgate.example", "voice.example.org", "*.wild.example").write(current)
        (current / "privkey.pem").chmod(0o644)
        edge.ca_file.write_bytes(authority.pem)
        edge.start_nginx(backend.port)
        yield edge


@pytest.fixture(scope="module")
def serving(backend: Backend) -> Iterator[LocalEdge]:
    with started(backend) as edge:
        yield edge


@pytest.fixture(scope="module")
def redirecting(backend: Backend) -> Iterator[LocalEdge]:
    with started(backend, EDGE_EXTRA="redirect") as edge:
        yield edge


@pytest.fixture(params=["serving", "redirecting"])
def either(request: pytest.FixtureRequest) -> LocalEdge:
    edge: LocalEdge = request.getfixturevalue(request.param)
    return edge


@pytest.mark.parametrize("name", [DOMAIN, *NAMES])
def test_each_name_gets_the_one_certificate(either: LocalEdge, name: str) -> None:
    with handshake(either, name) as client:
        der = client.getpeercert(binary_form=True)
    assert der is not None
    names = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert DOMAIN in names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize("name", [*UNKNOWN, None])
def test_any_other_name_is_refused_in_the_handshake(either: LocalEdge, name: str | None) -> None:
    with pytest.raises(ssl.SSLError, match="UNRECOGNIZED_NAME"):
        handshake(either, name)


@pytest.mark.parametrize("name", UNKNOWN)
def test_any_other_name_gets_no_answer_in_the_clear_and_no_page(either: LocalEdge, name: str) -> None:
    with pytest.raises(ConnectionResetError):
        ask(either, "GET", "/", tls=False, host=name)
    assert ask(either, "GET", "/", host=name).status == 421


@pytest.mark.parametrize("name", [DOMAIN, *NAMES])
@pytest.mark.parametrize("path", ["/incoming-call", "/call-status", "/", "/calls"])
def test_each_name_is_served(serving: LocalEdge, name: str, path: str) -> None:
    answer = ask(serving, "POST", path, name=name, body=b"CallSid=CA00")
    assert answer.status == 200
    told = json.loads(answer.body)
    assert (told["path"], told["headers"]["Host"]) == (path, name.lower())


@pytest.mark.parametrize("name", [DOMAIN, *NAMES])
def test_each_name_has_streams(serving: LocalEdge, name: str) -> None:
    with open_stream(serving, name=name) as stream:
        assert json.loads(stream.recv())["Upgrade"] == "websocket"


@pytest.mark.parametrize("name", [DOMAIN, *NAMES])
def test_page_of_each_name_asked_for_in_the_clear_is_at_https_of_the_same_name(serving: LocalEdge, name: str) -> None:
    answer = ask(serving, "GET", "/a?b=c", tls=False, host=name)
    assert (answer.status, answer.headers["location"]) == (301, f"https://{name.lower()}/a?b=c")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_page_of_a_further_name_is_at_the_domain_where_they_are_redirected(
    redirecting: LocalEdge, name: str, tls: bool, method: str
) -> None:
    answer = ask(redirecting, method, "/a?b=c", tls=tls, name=name)
    assert (answer.status, answer.headers["location"]) == (301, f"https://{DOMAIN}/a?b=c")


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("path", WEBHOOKS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_twilio_asks_for_is_never_redirected_to_another_name(
    redirecting: LocalEdge, tls: bool, path: str, method: str
) -> None:
    answer = ask(redirecting, method, path, tls=tls, name=NAMES[0], body=b"CallSid=CA00" if method == "POST" else None)
    assert is_told_to_use_the_domain(answer)


def is_told_to_use_the_domain(answer: Answer) -> bool:
    assert "location" not in answer.headers
    return answer.status == 403 and f"use https://{DOMAIN} in Twilio's settings" in answer.body.decode()


def test_form_sent_to_a_further_name_is_not_redirected(redirecting: LocalEdge) -> None:
    answer = ask(redirecting, "POST", "/any/path", name=NAMES[1], body=b"a=1")
    assert answer.status == 403
    assert f"https://{DOMAIN}" in answer.body.decode()
    assert "location" not in answer.headers


def test_the_domain_itself_is_served_where_the_others_are_redirected(redirecting: LocalEdge) -> None:
    assert ask(redirecting, "POST", "/incoming-call", body=b"CallSid=CA00").status == 200
    assert ask(redirecting, "GET", "/").status == 200
    assert ask(redirecting, "GET", "/a", tls=False).headers["location"] == f"https://{DOMAIN}/a"


def test_a_star_that_matches_the_domain_does_not_send_it_to_itself(backend: Backend) -> None:
    with started(backend, EXTRA_DOMAINS="*.callgate.example", EDGE_EXTRA="redirect") as edge:
        assert ask(edge, "POST", "/incoming-call", body=b"CallSid=CA00").status == 200
        answer = ask(edge, "GET", "/a", name="www.callgate.example")
        assert answer.headers["location"] == f"https://{DOMAIN}/a"


def test_a_redirect_says_that_the_name_is_for_https_only(redirecting: LocalEdge) -> None:
    headers = ask(redirecting, "GET", "/", name=NAMES[0]).headers
    assert headers["strict-transport-security"] == "max-age=63072000"


@pytest.mark.parametrize("name", ["user@any.wild.example", "evil.example#.wild.example", "evil?.wild.example"])
def test_nobody_is_redirected_to_a_name_of_the_askers_making(serving: LocalEdge, name: str) -> None:
    with contextlib.suppress(ConnectionResetError):
        answer = ask(serving, "GET", "/", tls=False, host=name)
        assert answer.status == 400


def test_an_address_among_the_names_is_served_to_clients_that_name_no_host(backend: Backend) -> None:
    with started(backend, EXTRA_DOMAINS="127.0.0.1") as edge:
        with handshake(edge, None) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            assert client.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
        with pytest.raises(ssl.SSLError, match="alert"):
            handshake(edge, "other.example")


def test_names_may_be_as_long_as_names_can_be(backend: Backend) -> None:
    assert len(LONGEST) == 253
    with started(backend, EXTRA_DOMAINS=f"{LONGEST} *.{LONGEST[2:]}") as edge:
        assert ask(edge, "GET", "/", tls=False, host=LONGEST).headers["location"] == f"https://{LONGEST}/"
        handshake(edge, LONGEST).close()
    with started(backend, LONGEST, EXTRA_DOMAINS="") as edge:
        handshake(edge, LONGEST).close()


def test_a_hundred_names_are_served(backend: Backend) -> None:
    names = [f"voice-{number}.a-rather-long-domain-with-many-names.example" for number in range(100)]
    with started(backend, EXTRA_DOMAINS=",".join(names)) as edge:
        for name in names:
            handshake(edge, name).close()
        assert edge.error_log.read_text() == ""
