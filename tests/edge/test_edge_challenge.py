"""The ACME server's challenge: on port 80, and on 443 when something before nginx redirects to https."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from demo.local_edge import LOOPBACK, LocalEdge
from support.edge.backends import Backend
from support.edge.pairs import Authority, Pair
from support.edge.probes import handshake, plain
from support.serving import serving

DOMAIN = "voice.callgate.example"
NAMES = [DOMAIN, "www.callgate.example", "any.wild.example"]
CHALLENGES = "/.well-known/acme-challenge/"
TOKEN, ANSWER = "a-challenge_0", "a-challenge_0.a-thumbprint"
DAY = datetime.timedelta(days=1)


def expired(*names: str) -> Pair:
    return Authority().issue(*names, starts_in=-2 * DAY, ends_in=-DAY)


@contextlib.contextmanager
def started(backend_port: int, pair: Pair, **environ: str) -> Iterator[LocalEdge]:
    with LocalEdge(DOMAIN, environ=environ) as edge:
        folder = edge.published / DOMAIN
        pair.write(folder / "first")
        (folder / "first" / "privkey.pem").chmod(0o644)
        (folder / "current").symlink_to("first")
        edge.start_nginx(backend_port)
        yield edge


def put(webroot: Path, token: str = TOKEN) -> None:
    (webroot / CHALLENGES[1:]).mkdir(parents=True, exist_ok=True)
    (webroot / CHALLENGES[1:] / token).write_text(ANSWER)


def fetch(edge: LocalEdge, name: str, path: str, *, tls: bool) -> bytes:
    """Ask as an ACME server does: any certificate will do."""
    with handshake(edge, name) if tls else plain(edge.http_port) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        return client.makefile("rb").read()


@pytest.mark.parametrize("extra", ["serve", "redirect"])
def test_challenge_is_answered_for_all_names_on_both_ports_even_if_the_certificate_has_expired(
    nobody: int, extra: str
) -> None:
    environ = {"EXTRA_DOMAINS": "www.callgate.example *.wild.example", "EDGE_EXTRA": extra}
    with started(nobody, expired(*NAMES), **environ) as edge:
        put(edge.webroot)
        for name in NAMES:
            for tls in (True, False):
                head, _, body = fetch(edge, name, CHALLENGES + TOKEN, tls=tls).partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 200 "), (name, tls)
                assert b"\r\nContent-Type: text/plain" in head
                assert body.decode() == ANSWER


def test_nothing_else_of_the_webroot_or_the_machine_is_served_over_tls(backend: Backend) -> None:
    with started(backend.port, expired(DOMAIN)) as edge:
        put(edge.webroot)
        (edge.webroot / "secret").write_text("a secret")
        assert b" 403 " in fetch(edge, DOMAIN, CHALLENGES, tls=True).splitlines()[0]
        assert b" 404 " in fetch(edge, DOMAIN, f"{CHALLENGES}not-there", tls=True).splitlines()[0]
        for path in (
            "/secret",
            f"{CHALLENGES}../../secret",
            f"{CHALLENGES}..%2f..%2fsecret",
            f"/a/..{CHALLENGES}../../secret",
        ):
            assert b"a secret" not in fetch(edge, DOMAIN, path, tls=True)
        assert edge.error_log.read_text() == "" or 'acme-challenge/" is forbidden' in edge.error_log.read_text()


def test_challenges_are_never_limited(nobody: int) -> None:
    with started(nobody, expired(DOMAIN)) as edge:
        put(edge.webroot)
        request = f"GET {CHALLENGES}{TOKEN} HTTP/1.1\r\nHost: {DOMAIN}\r\n"
        with handshake(edge, DOMAIN) as client:
            client.sendall(f"{request}\r\n".encode() * 299 + f"{request}Connection: close\r\n\r\n".encode())
            assert client.makefile("rb").read().count(b"HTTP/1.1 200 OK\r\n") == 300


def test_a_certificate_is_renewed_behind_a_proxy_that_redirects_port_80(nobody: int) -> None:
    """With real certbot and Pebble, which finds an expired certificate at the end of the redirect."""

    class Redirecting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            redirected.append(self.path)
            self.send_response(301)
            self.send_header("Location", f"https://{DOMAIN}:{edge.https_port}{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    redirected: list[str] = []
    proxy = ThreadingHTTPServer((LOOPBACK, 0), Redirecting)
    with started(nobody, expired(DOMAIN)) as edge, serving(proxy):
        edge.http_port = proxy.server_port  # where Pebble asks
        edge.start_acme()
        edge.issue()
        assert redirected
        assert "Pebble" in edge.issuer
