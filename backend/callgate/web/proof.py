"""What a request has to prove before its content is read.

Each route declares who may send requests: Twilio (`from_twilio`, `event_of_twilio`), the operator (`from_operator`), or
anybody (`from_anybody`). The cheapest checks come first, and each step is bounded: first a header that has the form of
a signature, then the body, then the number of its fields; only then are the fields parsed, sorted and checked against
the signature. So a stranger's request costs no more than reading its headers, and one with a forged signature little
more.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast
from urllib.parse import parse_qsl

from quart import Response, current_app, request
from twilio.request_validator import SIGNATURE_HEADER
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, RequestURITooLarge

from callgate.errors import OutboundRefused, RequestRefused
from callgate.logs.setup import call_sid as call_in_log

from .services import Services

P = ParamSpec("P")
T = TypeVar("T")
View = Callable[P, Awaitable[T]]

MOST_FIELDS: Final = 200  # per form or query; Twilio sends about 40
LONGEST_TARGET: Final = 8 * 1024  # bytes of path and query
FORM: Final = "application/x-www-form-urlencoded"
# The base64 of an HMAC-SHA1 or HMAC-SHA256 digest.
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{43}=")


class Proof(Enum):
    """What a route demands of a request."""

    TWILIO = "a signature of Twilio's"
    OPERATOR = "the admin token"
    NONE = "nothing"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A verified request from Twilio for this account. ``params``: its parameters; ``query``: those in its URL;
    ``is_new``: whether the same request is not known to have come before."""

    params: Mapping[str, str]
    query: Mapping[str, str]
    is_new: bool

    @property
    def call_sid(self) -> str:
        """The CallSid of the call that the webhook is about."""
        return self.params["CallSid"]


def can_be_signature(text: str | None) -> bool:
    """Whether the text has the form of a signature."""
    return text is not None and _SIGNATURE.fullmatch(text) is not None


def target_of(scope: Mapping[str, Any]) -> str:
    """Return path and query exactly as requested, which is what Twilio signed."""
    raw_path, query = scope["raw_path"].decode("latin1"), scope["query_string"].decode("latin1")
    return f"{raw_path}?{query}" if query else raw_path


# Decorators for routes.


def from_twilio(view: Callable[Concatenate[Webhook, P], Awaitable[T]]) -> View[P, T]:
    """Admit only Twilio; the view is passed the `Webhook`."""

    @functools.wraps(view)
    async def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        return await view(await _read_webhook(), *args, **kwargs)

    return _known(checked, Proof.TWILIO)


def event_of_twilio(view: Callable[Concatenate[Webhook, P], Awaitable[None]]) -> View[P, Response]:
    """Admit only Twilio's status callbacks. Each counts once, however often the same request comes."""

    @functools.wraps(view)
    async def checked(*args: P.args, **kwargs: P.kwargs) -> Response:
        webhook = await _read_webhook()
        if webhook.is_new:
            await view(webhook, *args, **kwargs)
        return Response(status=204)

    return _known(checked, Proof.TWILIO)


def from_operator(view: Callable[P, Awaitable[T]]) -> View[P, T]:
    """Admit only requests with the admin token. The view raises `OutboundRefused` (401, 403) for others."""

    @functools.wraps(view)
    async def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        _services().outbound.check_who_asks(request.headers.get("Authorization"))
        _check_target()
        return await view(*args, **kwargs)

    return _known(checked, Proof.OPERATOR)


def from_anybody(view: Callable[P, Awaitable[T]]) -> View[P, T]:
    """Admit everybody."""
    return _known(view, Proof.NONE)


def _known(view: View[P, T], proof: Proof) -> View[P, T]:
    view.proof = proof  # type: ignore[attr-defined]
    return view


# Reading a request.


async def _read_webhook() -> Webhook:
    """Verify and read the current request. Raises `RequestRefused`, `BadRequest`, `RequestEntityTooLarge`."""
    check = _services().switchboard.signature
    signature = request.headers.get(SIGNATURE_HEADER)
    if not can_be_signature(signature):
        raise RequestRefused("the X-Twilio-Signature header is missing or malformed: the request is not from Twilio")
    _check_target()
    form = await _form()
    target = target_of(request.scope)
    check.check_webhook(target, form, request.headers)
    is_new = _services().signatures.is_new(cast(str, signature), target, form.items(multi=True))
    query: MultiDict[str, str] = request.args
    params = form if request.method == "POST" else query
    check.check_account(params.get("AccountSid", ""))
    if not re.fullmatch("CA[0-9a-f]{32}", params.get("CallSid", "")):
        raise BadRequest("CallSid is missing, or not CA and 32 hexadecimal digits")
    call_in_log.set(params["CallSid"])
    return Webhook(params, query, is_new)


async def fields_of_operator() -> Mapping[str, Any]:
    """Return the fields of the operator's request, sent as JSON or as a form. Raises `OutboundRefused` (400)."""
    if not request.is_json:
        return await _form()
    try:
        given = json.loads(await _body())
    except (ValueError, RecursionError) as exc:
        raise OutboundRefused(
            400, "The request's body is not JSON.", 'Send an object, as in {"to": "+15551230000"}.'
        ) from exc
    if not isinstance(given, dict):
        raise OutboundRefused(
            400, "The request's body is not a JSON object.", 'Send one, as in {"to": "+15551230000"}.'
        )
    return given


async def _form() -> MultiDict[str, str]:
    """Return the fields of the form in the body; none if the body is not a form."""
    if request.mimetype != FORM:
        return MultiDict()
    body = await _body()
    if body.count(b"&") >= MOST_FIELDS:
        raise RequestEntityTooLarge(f"The form has more than {MOST_FIELDS} fields.")
    return MultiDict(parse_qsl(body.decode(errors="replace"), keep_blank_values=True, errors="replace"))


async def _body() -> bytes:
    body: bytes = await request.get_data(cache=False, as_text=False, parse_form_data=False)
    return body


def _check_target() -> None:
    """Refuse a URL that is too long or has too many fields. Raises `RequestURITooLarge`."""
    query: bytes = request.scope["query_string"]
    if len(request.scope["raw_path"]) + len(query) > LONGEST_TARGET or query.count(b"&") >= MOST_FIELDS:
        raise RequestURITooLarge("The URL is longer than any of this service, or has too many fields.")


def _services() -> Services:
    return cast(Services, current_app.extensions["callgate"])
