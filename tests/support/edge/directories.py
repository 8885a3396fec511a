"""An ACME server of which there is only the directory, with a certificate and a clock of the test's choice."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.edge.pairs import Pair
from support.serving import serving

LOOPBACK = "127.0.0.1"
PLAIN: Mapping[str, Any] = {"newOrder": "https://ca.example/new-order"}


class _Handler(BaseHTTPRequestHandler):
    body = b""
    status = 200
    clock_is_off = 0.0  # seconds

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string((timestamp or time.time()) + self.clock_is_off)

    def log_message(self, *args: object) -> None:
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not trust the certificate is no error here."""


@contextmanager
def directory_server(
    folder: Path,
    pair: Pair,
    *,
    meta: Mapping[str, Any] | None = None,
    body: bytes | None = None,
    status: int = 200,
    clock_is_off: float = 0.0,
) -> Iterator[str]:
    """Serve a directory, or ``body`` instead. Yield its URL. ``clock_is_off``: by how many seconds its Date is fast."""
    text = json.dumps({**PLAIN, "meta": dict(meta or {})}).encode() if body is None else body
    handler = type("Handler", (_Handler,), {"body": text, "status": status, "clock_is_off": clock_is_off})
    pair.write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "fullchain.pem", folder / "privkey.pem")
    server = _Server((LOOPBACK, 0), handler)
    # The handshake belongs to the connection's own thread, not to the one that accepts.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with serving(server):
        yield f"https://{LOOPBACK}:{server.server_port}/dir"
