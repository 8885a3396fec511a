"""Ways for a client in the test's own process to reach the fake: at its address, or by Twilio's names over TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit

from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response

HOSTS: Final = ("api.twilio.com", "monitor.twilio.com", "voice.twilio.com")


class Redirected(TwilioHttpClient):
    """Twilio's own HTTP client, connected to the fake at ``address``; everything else is as in production."""

    def __init__(self, address: str) -> None:
        super().__init__(timeout=5)
        self.address = address

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        parts = urlsplit(url)
        assert parts.scheme == "https", url
        assert parts.netloc in HOSTS, url
        return super().request(method, self.address + url.removeprefix(f"https://{parts.netloc}"), *args, **kwargs)


@contextlib.contextmanager
def by_name(port: int) -> Iterator[None]:
    """Resolve Twilio's host names to the fake at this loopback port, in this process, whatever port is requested.

    A client must also trust the fake's CA: set ``REQUESTS_CA_BUNDLE`` for Twilio's own.
    """
    real = socket.getaddrinfo

    def resolve(host: Any, service: Any, *args: Any, **kwargs: Any) -> Any:
        return real("127.0.0.1", port, *args, **kwargs) if host in HOSTS else real(host, service, *args, **kwargs)

    socket.getaddrinfo = resolve
    try:
        yield
    finally:
        socket.getaddrinfo = real


def tls_for_hosts(server: Callable[[str], ssl.SSLContext]) -> ssl.SSLContext:
    """Return one context that presents a separate certificate for each of Twilio's names. ``server`` makes one for a
    name."""
    contexts = {name: server(name) for name in HOSTS}

    def choose(sock: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        sock.context = contexts.get(name or "", context)

    first = contexts[HOSTS[0]]
    first.sni_callback = choose  # type: ignore[assignment]
    return first
