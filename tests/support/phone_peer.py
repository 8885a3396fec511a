"""A small real app on loopback for the phone to call: HTTPS webhooks and a WebSocket, with its own certificates."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import WSMsgType, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAME = "voice.example.test"
TOKEN = "0123456789abcdef0123456789abcdef"
WEBHOOK = f"https://{NAME}/incoming-call"
STREAM = f"wss://{NAME}/media-stream"

CONNECT = f'<Response><Connect><Stream url="{STREAM}"/></Connect></Response>'

_EVER = dt.timedelta(days=3650)
_CA_KEY = ec.generate_private_key(ec.SECP256R1())
_CA_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Phone test CA")])


class Certificates:
    """A CA and server contexts, as files in ``directory``."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ca = directory / "ca.pem"
        self.ca.write_bytes(_pem(_certificate(_CA_NAME, _CA_NAME, _CA_KEY.public_key(), _CA_KEY, ca=True)))

    def server(self, name: str = NAME, *, expired: bool = False, self_signed: bool = False) -> ssl.SSLContext:
        """Return a server's TLS context with a certificate for ``name``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = (subject, key) if self_signed else (_CA_NAME, _CA_KEY)
        certificate = _certificate(subject, issuer, key.public_key(), signer, name=name, expired=expired)
        path = self._directory / f"{certificate.serial_number}.pem"
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path.write_bytes(private + _pem(certificate))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(path)
        return context


def _certificate(subject, issuer, public_key, signer, *, name=None, expired=False, ca=False):
    now = dt.datetime.now(dt.UTC)
    ends = now - dt.timedelta(days=1) if expired else now + _EVER
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EVER)
        .not_valid_after(ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if ca:
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(usage, critical=True)
    if name is not None:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(signer, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True, slots=True)
class Request:
    """A request that the app received."""

    method: str
    target: str  # path and query
    headers: Mapping[str, str]
    form: Mapping[str, str]


class Leg:
    """The app's end of one stream."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self.received: list[dict] = []
        self.sid = ""

    async def next(self) -> dict | None:
        """Return the next message from Twilio, or None when the stream is over."""
        message = await self.socket.receive(timeout=10)
        if message.type is not WSMsgType.TEXT:
            return None
        value = json.loads(message.data)
        self.received.append(value)
        self.sid = value.get("streamSid", self.sid)
        return value

    async def until(self, event: str) -> dict | None:
        """Return the next message of one kind."""
        while (message := await self.next()) is not None and message["event"] != event:
            pass
        return message

    async def drain(self) -> None:
        """Receive messages until the stream is over."""
        while await self.next() is not None:
            pass

    async def play(self, audio: bytes) -> None:
        """Send audio in one message."""
        await self.send("media", media={"payload": base64.b64encode(audio).decode()})

    async def mark(self, name: str) -> None:
        await self.send("mark", mark={"name": name})

    async def send(self, event: str, **body: object) -> None:
        await self.socket.send_str(json.dumps({"event": event, "streamSid": self.sid, **body}))

    def kinds(self) -> list[str]:
        """Return the events received, except media."""
        return [message["event"] for message in self.received if message["event"] != "media"]

    def lose(self) -> None:
        """Drop the connection without a close frame."""
        self.request.transport.abort()


Webhook = Callable[[Request], web.Response | Awaitable[web.Response]]
Talk = Callable[[Leg], Awaitable[None]]


@dataclass
class App:
    """The app's answers, and the requests it received. ``webhooks`` maps each path to a TwiML text or a function."""

    webhooks: dict[str, str | Webhook]
    talk: Talk
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    upgrades: list[Request] = field(default_factory=list)
    server_names: list[str | None] = field(default_factory=list)
    legs: list[Leg] = field(default_factory=list)

    def asked(self, path: str) -> list[Request]:
        """Return the requests for one path, in order."""
        return [request for request in self.requests if request.target.partition("?")[0] == path]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        seen = Request(
            request.method, request.path_qs, request.headers, {k: str(v) for k, v in (await request.post()).items()}
        )
        if request.headers.get("Upgrade", "").lower() == "websocket":
            self.upgrades.append(seen)
            return await self._talk(request)
        self.requests.append(seen)
        found = self.webhooks.get(request.path)
        if found is None:
            return web.Response(status=404)
        if isinstance(found, str):
            return xml(found)
        response = found(seen)
        return response if isinstance(response, web.Response) else await response

    async def _talk(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/refused"):
            return web.Response(status=403)
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        leg = Leg(socket, request)
        self.legs.append(leg)
        await self.talk(leg)
        with contextlib.suppress(ConnectionError):
            await socket.close()
        return socket


@contextlib.asynccontextmanager
async def serving(app: App, tls: ssl.SSLContext | None) -> AsyncIterator[App]:
    """Serve the app on a free loopback port."""
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: app.server_names.append(name)
    server = web.Server(app.answer)
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    app.port = runner.addresses[0][1]
    try:
        yield app
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)  # let the transports' last callbacks run


def xml(text: str) -> web.Response:
    """Return a TwiML answer."""
    return web.Response(text=text, content_type="text/xml")


def is_loud(audio: bytes) -> bool:
    """Whether a frame contains speech."""
    return any(byte & 0x70 != 0x70 for byte in audio)


async def say_back(leg: Leg, greeting: bytes = b"", pause_frames: int = 6) -> None:
    """Greet, then repeat each utterance of the caller after a pause."""
    await leg.until("start")
    if greeting:
        await leg.play(greeting)
        await leg.mark("greeting")
    speech, quiet = bytearray(), 0
    while (message := await leg.next()) is not None:
        if message["event"] != "media":
            continue
        audio = base64.b64decode(message["media"]["payload"])
        if is_loud(audio):
            speech += audio
            quiet = 0
        elif speech:
            speech += audio
            quiet += 1
            if quiet == pause_frames:
                await leg.play(bytes(speech))
                await leg.mark("reply")
                speech.clear()
