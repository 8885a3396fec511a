"""Calls and webhooks from outside: to the published port, under the domain's name, signed as Twilio signs them."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from callgate.peers.phone.call import place_call
from callgate.peers.phone.options import NO_ACCOUNT, Address, PhoneOptions
from callgate.peers.phone.settings import REHEARSAL
from callgate.peers.phone.sids import new_sid
from callgate.peers.phone.simulation.report import CallReport
from callgate.peers.phone.simulation.signing import sign_webhook
from callgate.peers.phone.simulation.twiml import parse
from callgate.peers.phone.wav import read_ulaw
from cryptography import x509

from support.engine.bundle import Bundle

LOOPBACK: Final = "127.0.0.1"
TIMEOUT: Final = 20.0
WORDS: Final = read_ulaw(REHEARSAL)
FORM: Final = {"AccountSid": NO_ACCOUNT, "From": "+15550001111", "To": "+15550002222"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to a webhook. ``verbs`` are the TwiML's verbs; ``seconds`` is the time from the TCP connection to
    the end."""

    status: int
    content_type: str
    verbs: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Line:
    """The way into a bundle. ``ca`` is the root of its certificate; ``token`` signs its webhooks."""

    bundle: Bundle
    domain: str
    ca: Path
    token: str = field(repr=False)

    async def call(self, *script: object, **options: object) -> CallReport:
        """Place one call from this machine."""
        return await place_call(
            PhoneOptions(
                to=f"https://{self.domain}/incoming-call",
                auth_token=self.token,
                script=script,  # type: ignore[arg-type]
                connect_to=Address(LOOPBACK, self.bundle.port("nginx", 8443)),
                ca=self.ca,
                **options,  # type: ignore[arg-type]
            )
        )

    def webhook(self, path: str) -> Answer:
        """Request TwiML as Twilio would, for a new call each time."""
        form = {"CallSid": new_sid("CA"), **FORM}
        began = time.monotonic()
        client = http.client.HTTPConnection(self.domain, timeout=TIMEOUT)
        client.sock = self.handshake()
        try:
            signature = sign_webhook(self.token, f"https://{self.domain}{path}", form)
            headers = {"Content-Type": "application/x-www-form-urlencoded", "X-Twilio-Signature": signature}
            client.request("POST", path, urlencode(form), headers)
            response = client.getresponse()
            body = response.read()
            seconds = time.monotonic() - began
            verbs = tuple(type(verb).__name__ for verb in parse(body)) if response.status == 200 else ()
            return Answer(response.status, response.getheader("Content-Type", ""), verbs, seconds)
        finally:
            client.close()

    def served(self) -> x509.Certificate:
        """Return the certificate being served, verified."""
        with self.handshake() as connection:
            certificate = connection.getpeercert(binary_form=True)
        assert certificate is not None
        return x509.load_der_x509_certificate(certificate)

    def handshake(self) -> ssl.SSLSocket:
        """Open a TLS connection, verified."""
        port = self.bundle.port("nginx", 8443)
        context = ssl.create_default_context(cafile=self.ca)
        connection = socket.create_connection((LOOPBACK, port), timeout=TIMEOUT)
        try:
            return context.wrap_socket(connection, server_hostname=self.domain)
        except BaseException:
            connection.close()
            raise
