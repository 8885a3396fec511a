"""Tools that send requests to the owner's own server, with limits, and kept off private addresses.

A request goes to the host in the agents file and nowhere else: redirects are not followed; the environment's proxy is
not used, as it would resolve the name itself; and each address is checked by `egress` when the name is resolved and
again when the socket is created. Each request has its own connection, so that nothing of one call, neither an open
connection nor a cookie, serves another. Calls don't feel each other's tools either: names are looked up in dedicated
threads, and arguments, responses and everything else that a server may send are limited before they are read.

Certificates are checked against the system's authorities, or those of ``SSL_CERT_FILE``.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import logging
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from callgate import __version__
from callgate.core.foreign import foreign
from callgate.core.gate.egress import Egress
from callgate.core.tools.toolbox import HttpTool
from callgate.errors import ToolError
from callgate.network.guarded_connection import Guard, GuardedConnector, ToolNames

from .schemas import check_schema, misfit

__all__ = ["HttpTools", "check_http_tool", "check_schema"]

log = logging.getLogger(__name__)

ANSWER_LIMIT: Final = 8 * 1024  # bytes of a response that are read
CUT_OFF: Final = "\n[cut off here: the answer is longer]"
ARGUMENTS_LIMIT: Final = 16 * 1024  # bytes of arguments, as JSON
EXCERPT: Final = 200  # characters of an error response that the model is told
METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
LONGEST_TYPE: Final = 200  # characters of a Content-Type: parsing a long one is slow
OTHER_NAME: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_OURS: Final = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"}
)
_NO_SECRET: Final = frozenset({"accept", "accept-language", "content-type", "user-agent"})
_CHARSETS: Final = (
    "ascii", "utf-", "iso8859-", "iso2022-", "cp", "koi8-", "mac-", "euc-", "shift-jis", "gb", "big5",
)  # fmt: skip
_NAME: Final = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")  # of a host; an IPv6 address has a colon
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e\x80-\xff\t]*")


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    text: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


class HttpTools:
    """Runs HTTP tools. ``egress``: what may be requested besides public addresses. ``resolver``: resolves names for all
    calls; by default the system's. ``tls``: which certificates are trusted; by default the system's."""

    def __init__(
        self,
        egress: Egress = Egress(),  # noqa: B008 (a frozen value)
        *,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._egress = egress
        self._resolver = resolver or ToolNames()
        self._tls = tls or _system_trust(ssl.get_default_verify_paths())

    async def run(self, tool: HttpTool, arguments: Mapping[str, Any]) -> str:
        """Make the tool's request, and return the response: text or JSON, at most 8 kB of it.

        Raises `ToolError`, whose text contains neither a secret nor an address. It may quote the server.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        try:
            async with asyncio.timeout(tool.timeout):
                answer = await self._ask(tool, arguments)
        except TimeoutError:
            error = ToolError(f"its server did not answer within {tool.timeout:g} s")
            log.warning("HTTP tool %s: %s", tool.name, error)
            raise error from None
        except ToolError as exc:
            log.warning("HTTP tool %s: %s (%.0f ms)", tool.name, exc, (loop.time() - began) * 1000)
            raise
        level = logging.INFO if answer.is_success else logging.WARNING
        took, size = (loop.time() - began) * 1000, len(answer.text)
        log.log(level, "HTTP tool %s: status %d (%.0f ms, %d characters)", tool.name, answer.status, took, size)
        return _told(answer)

    async def _ask(self, tool: HttpTool, arguments: Mapping[str, Any]) -> _Answer:
        if problem := _check_request(tool):
            raise ToolError(problem)
        text = _as_json(arguments)
        if problem := misfit(tool.parameters, arguments := json.loads(text)):
            raise ToolError(problem)
        url, body = _request(tool, arguments, text)
        guard = Guard(url.raw_host or "", url.port or 443, self._egress, self._resolver)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=GuardedConnector(guard, ssl=self._tls),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # the whole request has one
                    auto_decompress=False,
                    trust_env=False,
                    read_bufsize=ANSWER_LIMIT,
                ) as session,
                session.request(
                    tool.method, url, data=body, headers=_headers(tool, body), allow_redirects=False
                ) as response,
            ):
                return await _read(response, tool)
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            if isinstance(exc, TimeoutError):
                raise
            raise ToolError(guard.refusal or _why(exc)) from None  # its own text contains addresses


@cache
def _system_trust(paths: ssl.DefaultVerifyPaths) -> ssl.SSLContext:
    """Load the authorities from OpenSSL's paths. Done once, as reading them is slow."""
    return ssl.create_default_context()


def check_http_tool(tool: HttpTool) -> str | None:
    """Return why this tool, as written in the agents file, can never be run; None: it can."""
    return _check_request(tool) or check_schema(tool.parameters, f"{tool.name}: parameters.")


def _check_request(tool: HttpTool) -> str | None:
    try:
        url = URL(tool.url)
    except ValueError:
        return "its url is not a valid URL"
    if url.scheme != "https" or not url.raw_host:
        return "its url must begin with https:// and a host"
    if not (_NAME.fullmatch(url.raw_host.lower()) or ":" in url.raw_host) or url.port == 0:
        return "its url names no host and port that there can be"
    if url.user is not None or url.password is not None:
        return "its url must hold no user and password: put them into a header"
    if url.raw_fragment:
        return "its url must hold no fragment (#): it is never sent"
    if tool.method not in METHODS:
        return f"its method must be one of {', '.join(sorted(METHODS))}"
    for name, value in tool.headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OURS:
            return f"its header {name!r} can't be set"
        if not _HEADER_VALUE.fullmatch(value):
            return f"the value of its header {name!r} holds signs that a header can't"
    return None


def _as_json(arguments: Mapping[str, Any]) -> bytes:
    """Return the arguments as JSON. Arguments that are too long are not processed further. Raises `ToolError`."""
    try:
        text = json.dumps(dict(arguments), ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise ToolError("the arguments hold a value that JSON does not have") from exc
    if len(text) > ARGUMENTS_LIMIT:
        raise ToolError(f"the arguments are longer than {ARGUMENTS_LIMIT // 1024} kB")
    return text


def _request(tool: HttpTool, arguments: Mapping[str, Any], text: bytes) -> tuple[URL, bytes | None]:
    """Return the request's URL and body. ``text``: the arguments as JSON. Raises `ToolError`."""
    url = URL(tool.url)
    if tool.method != "GET":
        return url, text
    if any(name in url.query for name in arguments):
        raise ToolError("an argument has the name of what the owner has fixed in the address")
    return url.extend_query([pair for item in arguments.items() for pair in _query(*item)]), None


def _query(name: str, value: Any) -> list[tuple[str, str]]:
    """Return an argument as query parameters: a list as one for each of its values, null as none."""
    if value is None:
        return []
    if isinstance(value, list):
        return [pair for part in value for pair in _query(name, part)]
    return [(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))]


def _headers(tool: HttpTool, body: bytes | None) -> dict[str, str]:
    given = {name.lower() for name in tool.headers}
    ours = {"accept": "application/json, text/*;q=0.9", "user-agent": f"Callgate/{__version__}"}
    if body is not None:
        ours["content-type"] = "application/json"
    # A compressed response of 8 kB could expand to any size.
    return {**{name: ours[name] for name in ours.keys() - given}, **tool.headers, "accept-encoding": "identity"}


async def _read(response: aiohttp.ClientResponse, tool: HttpTool) -> _Answer:
    """Read the response. Raises `ToolError` if it is not acceptable."""
    if 300 <= response.status < 400:
        raise ToolError(f"its server answered with a redirect ({response.status}), which is not followed")
    if len(response.headers.get("Content-Type", "")) > LONGEST_TYPE:
        raise ToolError("its server answered with a Content-Type that is too long to be read")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ToolError("its server compressed the answer, which it was not asked to do")
    body = bytearray()
    while len(body) <= ANSWER_LIMIT and (piece := await response.content.read(ANSWER_LIMIT + 1 - len(body))):
        body += piece
    text = _without_secrets(_decoded(bytes(body), response.charset), tool)
    answer = _Answer(response.status, text if _is_text(response) else "")
    if answer.is_success and body and not _is_text(response):
        raise ToolError(f"its server answered with {foreign(response.content_type)}, not with text or JSON")
    return answer


def _is_text(response: aiohttp.ClientResponse) -> bool:
    kind = response.content_type
    is_said = "Content-Type" in response.headers
    return not is_said or kind.startswith("text/") or kind == "application/json" or kind.endswith("+json")


def _decoded(body: bytes, charset: str | None) -> str:
    text = body if len(body) <= ANSWER_LIMIT else body[: ANSWER_LIMIT - len(CUT_OFF)]
    decoded = text.decode(_codec(charset or "utf-8"), errors="replace")
    return decoded if len(body) <= ANSWER_LIMIT else decoded + CUT_OFF


def _codec(charset: str) -> str:
    """Return Python's name of a charset, or that of UTF-8 if it is not one. Python has codecs that are not charsets,
    and some of those are slow."""
    try:
        name = codecs.lookup(charset).name.replace("_", "-")
    except (LookupError, ValueError):
        return "utf-8"
    return name if name.startswith(_CHARSETS) else "utf-8"


def _without_secrets(text: str, tool: HttpTool) -> str:
    """Remove the tool's secrets: a server may echo what it was sent."""
    for name, value in tool.headers.items():
        if name.lower() not in _NO_SECRET:
            for secret in sorted({value, *value.split()} - {""}, key=len, reverse=True):
                text = text.replace(secret, "***") if len(secret) >= 8 else text
    return text


def _told(answer: _Answer) -> str:
    """Return what the model is told. Raises `ToolError` if that is an error."""
    if not answer.is_success:
        said = " ".join(answer.text.split())[:EXCERPT]
        raise ToolError(f"its server answered {answer.status}{': ' if said else ''}{said}")
    return answer.text if answer.text.strip() else f"Done: the server answered {answer.status}, without a text."


def _why(exc: Exception) -> str:
    """Describe a failed request, without the address in the library's own text."""
    match exc:
        case aiohttp.ClientConnectorCertificateError():
            return f"the certificate of its server is not trusted: {_why_untrusted(exc.certificate_error)}"
        case aiohttp.ClientConnectorSSLError():
            return "its server does not speak TLS as it should"
        case aiohttp.ClientConnectorDNSError():
            return "the name of its server is not found"
        case aiohttp.ClientConnectorError():
            return "its server can't be reached"
        case aiohttp.InvalidURL():
            return "its url is not one that can be requested"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return "its server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return "the answer of its server broke off"
    return "its server did not answer as HTTP has it"


def _why_untrusted(error: Exception) -> str:
    if not isinstance(error, ssl.SSLCertVerificationError) or error.verify_code in OTHER_NAME:
        return "it is another host's"
    return error.verify_message
