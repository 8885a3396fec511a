"""Requests a webhook as Twilio does: signed, with timeouts, one retry, Twilio's handling of redirects and error codes.

Sources: https://www.twilio.com/docs/usage/security, …/usage/webhooks/webhooks-connection-overrides, …/api/errors.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final
from urllib.parse import urldefrag, urlencode, urljoin, urlsplit

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from callgate import __version__
from callgate.errors import PhoneError

from .options import Address, TwilioLimits
from .simulation.signing import sign_webhook
from .simulation.timeline import mask_url

MAX_BODY: Final = 64 * 1024
CLOSE_DEADLINE: Final = 1.0  # seconds, for connections to close at the end of a call
MAX_REDIRECTS: Final = 10
USER_AGENT: Final = f"callgate-phone/{__version__}"
_FOLLOWED: Final = frozenset({301, 302, 303, 307})  # but not 308

_EXPIRED: Final = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
_WRONG_NAME: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


@dataclass(frozen=True, slots=True)
class WebhookAnswer:
    """A webhook's answer, with status 2xx. ``url`` is the last one requested; times are in seconds."""

    url: str
    status: int
    content_type: str
    body: bytes
    seconds: float
    connect_seconds: float  # DNS, TCP and TLS of the last connection


class Web:
    """The HTTPS side of one call. Use as an asynchronous context manager."""

    def __init__(
        self, tls: ssl.SSLContext, token: str, limits: TwilioLimits, connect_to: Address | None = None
    ) -> None:
        self._token = token
        self._limits = limits
        self._connect_to = connect_to
        self._tls = tls
        self._closing: set[asyncio.Future[None]] = set()  # connections that have been used

    async def __aenter__(self) -> Web:
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_start.append(_note_connecting)
        trace.on_connection_create_end.append(_note_connected)
        self._session = aiohttp.ClientSession(
            # A new connection for each request, because with --connect-to several names may share one address.
            connector=aiohttp.TCPConnector(ssl=self._tls, force_close=True),
            response_class=Response,
            timeout=aiohttp.ClientTimeout(
                total=self._limits.connect + self._limits.read,
                connect=self._limits.connect,
                sock_read=self._limits.read,
            ),
            headers={"User-Agent": USER_AGENT, "Accept": "*/*"},
            cookie_jar=aiohttp.DummyCookieJar(),
            trace_configs=[trace],
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._session.close()
        # aiohttp does not wait for connections to close, and an event loop that is closed before them complains.
        if self._closing:
            await asyncio.wait(self._closing, timeout=CLOSE_DEADLINE)

    async def ask(self, method: str, url: str, form: Mapping[str, str]) -> WebhookAnswer:
        """Request a webhook. With GET, the ``form`` goes into the query. Raises `PhoneError` when Twilio gives up."""
        url = urldefrag(url).url
        if method == "GET":
            url += ("&" if urlsplit(url).query else "?") + urlencode(form)
            form = {}
        # As with Twilio, a redirected request keeps the signature of the first URL, which is then wrong.
        headers = {"X-Twilio-Signature": sign_webhook(self._token, url, form)}
        for _ in range(MAX_REDIRECTS + 1):
            answer, location = await self._try(method, url, form, headers)
            if location is None:
                return answer
            url = urljoin(url, location)
            if answer.status != 307:
                method, form = "GET", {}
        raise PhoneError(11200, f"{mask_url(url)} was reached after more than {MAX_REDIRECTS} redirects")

    async def _try(
        self, method: str, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[WebhookAnswer, str | None]:
        try:
            return await self._request(method, url, form, headers)
        except PhoneError as exc:
            if exc.code != 11205:
                raise
        return await self._request(method, url, form, headers)  # Twilio's one retry, on a failure to connect only

    async def _request(
        self, method: str, url: str, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[WebhookAnswer, str | None]:
        loop = asyncio.get_running_loop()
        target, routing = self._route(url)
        marks = SimpleNamespace(connecting=0.0, connected=0.0)
        asked = loop.time()
        try:
            async with self._session.request(
                method,
                target,
                data=dict(form) if method == "POST" else None,
                headers={**headers, **routing.headers},
                server_hostname=routing.server_name,
                allow_redirects=False,
                trace_request_ctx=marks,
            ) as response:
                assert isinstance(response, Response)
                self._note_closing(response.gone)
                location = response.headers.get("Location") if response.status in _FOLLOWED else None
                if location is None and not 200 <= response.status < 300:
                    raise PhoneError(11200, f"{method} {mask_url(url)} was answered with status {response.status}")
                body = await response.content.read(MAX_BODY + 1) if location is None else b""
                while location is None and len(body) <= MAX_BODY and (more := await response.content.read(MAX_BODY)):
                    body += more
                if len(body) > MAX_BODY:
                    raise PhoneError(11750, f"the answer from {mask_url(url)} is larger than {MAX_BODY} bytes")
                content_type = response.headers.get("Content-Type", "")
                connect_seconds = marks.connected - marks.connecting
                took = loop.time() - asked
                return WebhookAnswer(url, response.status, content_type, body, took, connect_seconds), location
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            raise _refusal(exc, url) from exc

    def _note_closing(self, gone: asyncio.Future[None] | None) -> None:
        if gone is not None:
            self._closing.add(gone)
            gone.add_done_callback(self._closing.discard)

    def _route(self, url: str) -> tuple[URL, _Routing]:
        """Return the URL to connect to, and the header and server name that keep the original URL's name."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as exc:
            raise PhoneError(11200, f"{mask_url(url)} is malformed: {exc}") from exc
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PhoneError(11200, f"{mask_url(url)} is not an http:// or https:// URL")
        target = URL(url, encoded=True)
        if self._connect_to is None:
            return target, _Routing({}, None)
        default = 443 if parts.scheme == "https" else 80
        name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        host = name if port in (None, default) else f"{name}:{port}"
        target = target.with_host(self._connect_to.host).with_port(self._connect_to.port)
        return target, _Routing({"Host": host}, parts.hostname if parts.scheme == "https" else None)


class Response(aiohttp.ClientResponse):
    """A response with a future, ``gone``, that is done when its connection is closed, maybe after the session is."""

    gone: asyncio.Future[None] | None = None

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        assert connection.protocol is not None
        self.gone = connection.protocol.closed
        return await super().start(connection)


@dataclass(frozen=True, slots=True)
class _Routing:
    headers: dict[str, str]
    server_name: str | None  # for SNI and certificate verification, if it differs from the target's


def require_twiml_type(answer: WebhookAnswer) -> None:
    """Raise `PhoneError` (12300) if Twilio would not accept the answer's content type for TwiML."""
    kind = answer.content_type.partition(";")[0].strip().lower()
    if kind not in ("text/xml", "application/xml"):
        shown = kind or "none"
        raise PhoneError(12300, f"the answer from {mask_url(answer.url)} has the content type {shown}, not text/xml")


async def _note_connecting(session: object, context: Any, params: object) -> None:
    context.trace_request_ctx.connecting = asyncio.get_running_loop().time()


async def _note_connected(session: object, context: Any, params: object) -> None:
    context.trace_request_ctx.connected = asyncio.get_running_loop().time()


def _refusal(exc: Exception, url: str) -> PhoneError:
    """Return Twilio's error for this failure."""
    where = mask_url(url)
    match exc:
        case aiohttp.ClientConnectorCertificateError(certificate_error=error):
            return _certificate_refusal(error, where)
        case aiohttp.ClientConnectorDNSError():
            return PhoneError(11210, f"the host of {where} can't be resolved")
        case aiohttp.ClientConnectorSSLError(os_error=error):
            return PhoneError(11220, f"the TLS handshake with {where} failed: {tls_reason(error)}")
        case aiohttp.ClientConnectorError(os_error=ConnectionResetError() | ConnectionAbortedError()):
            return PhoneError(11220, f"{where} closed the connection during the TLS handshake")
        case aiohttp.ClientConnectorError(os_error=error):
            return PhoneError(11205, f"{where} can't be connected to: {error.strerror or error}")
        case aiohttp.ConnectionTimeoutError():
            return PhoneError(11205, f"{where} did not accept the connection in time")
        case TimeoutError():
            return PhoneError(11200, f"{where} did not answer in time")
        case aiohttp.ServerDisconnectedError():
            return PhoneError(11200, f"{where} closed the connection without an answer")
    return PhoneError(11200, f"the request to {where} failed: {type(exc).__name__}")


def _certificate_refusal(error: Exception, where: str) -> PhoneError:
    code = getattr(error, "verify_code", 0)
    reason = getattr(error, "verify_message", "") or str(error)
    if code in _WRONG_NAME:
        return PhoneError(11235, f"the certificate of {where} is for another name")
    if code in _EXPIRED:
        return PhoneError(11236, f"the certificate of {where} is not valid now: {reason}")
    return PhoneError(11237, f"the certificate of {where} has no trusted issuer: {reason}")


def tls_reason(error: BaseException) -> str:
    """Return why a TLS handshake failed, in OpenSSL's words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
