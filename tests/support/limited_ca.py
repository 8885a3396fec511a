"""An ACME server that has reached its rate limit: the directory answers, everything else is 429 with Retry-After.

    python limited_ca.py PORT CERTIFICATE KEY

runs it on its own.
"""

from __future__ import annotations

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RETRY_AFTER = 7200  # seconds
NAMES = ("newNonce", "newAccount", "newOrder", "revokeCert", "keyChange")
PROBLEM = {"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many new orders", "status": 429}


class Handler(BaseHTTPRequestHandler):
    """The part of RFC 8555 that a client reaches."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        base = f"https://{self.headers['Host']}"
        self._answer(200, json.dumps({name: f"{base}/{name}" for name in NAMES}).encode(), {})

    def do_HEAD(self) -> None:
        self._answer(200, b"", {})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        headers = {"Retry-After": str(RETRY_AFTER), "Content-Type": "application/problem+json"}
        self._answer(429, json.dumps(PROBLEM).encode(), headers)

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Replay-Nonce": "bm9uY2U", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Log nothing."""


def limited_ca(host: str, port: int, certificate: str, key: str) -> ThreadingHTTPServer:
    """Return the server, already listening. ``serve_forever`` makes it answer."""
    server = ThreadingHTTPServer((host, port), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


if __name__ == "__main__":
    limited_ca("", int(sys.argv[1]), sys.argv[2], sys.argv[3]).serve_forever()
