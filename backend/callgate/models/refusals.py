"""What a model's server says when it refuses a session, for the operator and for the next try."""

from __future__ import annotations

import json

from picows import WSInvalidStatusError

from callgate.core.foreign import described, foreign, name_or_length
from callgate.core.protocols.realtime_errors import FATAL_ERRORS
from callgate.core.protocols.retry_after import in_headers, in_words
from callgate.errors import UpstreamError, UpstreamRefused

from .endpoints import Endpoint


def refusal(endpoint: Endpoint, exc: WSInvalidStatusError, quotes: bool) -> UpstreamError:
    """Return the error for an upgrade that was refused. ``quotes``: whether the server's words may be quoted."""
    status = int(exc.response.status) if exc.response else 0
    code, message = _error_body(exc.raw_body or b"")
    told = quoted(code, message) if quotes else described(code, None, None, message)
    why = f"{endpoint.name} refused the session: HTTP {status}" + (f", {told}" if code else "")
    if status in (401, 403):
        return UpstreamRefused(f"{why}. {endpoint.if_refused}")
    if code == "insufficient_quota":
        return UpstreamRefused(f"{why}. Add credit to the account or raise its limit")
    if code in FATAL_ERRORS:
        return UpstreamRefused(why)
    headers = exc.response.headers if exc.response else {}
    wait = in_headers(headers.get("Retry-After"), headers.get("retry-after-ms"))
    return UpstreamError(why, in_words(message) if wait is None else wait)


def quoted(code: str, message: str) -> str:
    """Quote a server that knows nothing of what was said: an operator needs its words."""
    return f"{name_or_length(code)}: {foreign(message)}"


def _error_body(body: bytes) -> tuple[str, str]:
    try:
        error = json.loads(body)["error"]
        return str(error.get("code") or error.get("type") or ""), str(error.get("message") or "")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "", ""
