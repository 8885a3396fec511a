"""What a request has to show before anything of it is read.

Each route says who may ask: Twilio (`from_twilio`, `event_of_twilio`), the operator (`from_operator`), or anybody
(`from_anybody`). The cheapest proof comes first, and each step is bounded: a header that can be a signature, then the
body, then the number of its fields, and only then are they parsed, sorted and compared with the signature. So a request
of a stranger's costs what it takes to read its headers, and one with a made-up signature little more.
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

MOST_FIELDS: Final = 200  # of a form, or of a query; Twilio sends some forty
LONGEST_TARGET: Final = 8 * 1024  # bytes of path and query
FORM: Final = "application/x-www-form-urlencoded"
# base64 of what HMAC-SHA1 gives, or HMAC-SHA256.
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/]{27}=|[A-Za-z0-9+/]{43}=")


class Proof(Enum):
    """Who may ask."""

    TWILIO = "a signature of Twilio's"
    OPERATOR = "the admin token"
    NONE = "nothing"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A request that is known to be Twilio's, for this account. ``params``: what it says; ``query``: what of it stands
    in its URL. ``is_new``: it was not sent before, as far as is known."""

    params: Mapping[str, str]
    query: Mapping[str, str]
    is_new: bool

    @property
    def call_sid(self) -> str:
        """Whose it is."""
        return self.params["CallSid"]


def can_be_signature(text: str | None) -> bool:
    """Whether this may be the signature of anything."""
    return text is not None and _SIGNATURE.fullmatch(text) is not None


def target_of(scope: Mapping[str, Any]) -> str:
    """Path and query exactly as they were requested, as Twilio signed them."""
    raw_path, query = scope["raw_path"].decode("latin1"), scope["query_string"].decode("latin1")
    return f"{raw_path}?{query}" if query else raw_path


# What stands before a route.


def from_twilio(view: Callable[Concatenate[Webhook, P], Awaitable[T]]) -> View[P, T]:
    """Only Twilio may ask; the view is given the `Webhook`."""

    @functools.wraps(view)
    async def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        return await view(await _read_webhook(), *args, **kwargs)

    return _known(checked, Proof.TWILIO)


def event_of_twilio(view: Callable[Concatenate[Webhook, P], Awaitable[None]]) -> View[P, Response]:
    """Twilio tells of something that happened. It counts once, however often the same request comes."""

    @functools.wraps(view)
    async def checked(*args: P.args, **kwargs: P.kwargs) -> Response:
        webhook = await _read_webhook()
        if webhook.is_new:
            await view(webhook, *args, **kwargs)
        return Response(status=204)

    return _known(checked, Proof.TWILIO)


def from_operator(view: Callable[P, Awaitable[T]]) -> View[P, T]:
    """Only who has the admin token may ask. It raises `OutboundRefused` (401, 403)."""

    @functools.wraps(view)
    async def checked(*args: P.args, **kwargs: P.kwargs) -> T:
        _services().outbound.check_who_asks(request.headers.get("Authorization"))
        _check_target()
        return await view(*args, **kwargs)

    return _known(checked, Proof.OPERATOR)


def from_anybody(view: Callable[P, Awaitable[T]]) -> View[P, T]:
    """Whoever asks may have it."""
    return _known(view, Proof.NONE)


def _known(view: View[P, T], proof: Proof) -> View[P, T]:
    view.proof = proof  # type: ignore[attr-defined]
    return view


# What is read once it is known who asks.


async def _read_webhook() -> Webhook:
    """Raises `RequestRefused`, `BadRequest`, `RequestEntityTooLarge`."""
    check = _services().switchboard.signature
    signature = request.headers.get(SIGNATURE_HEADER)
    if not can_be_signature(signature):
        raise RequestRefused("there is no X-Twilio-Signature, or none that can be one: whoever asked is not Twilio")
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
    """What a request of the operator's says, as JSON or as a form. Raises `OutboundRefused` (400)."""
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
    """The fields of a form; none where the body is something else."""
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
    """Bound what is made of the query. Raises `RequestURITooLarge`."""
    query: bytes = request.scope["query_string"]
    if len(request.scope["raw_path"]) + len(query) > LONGEST_TARGET or query.count(b"&") >= MOST_FIELDS:
        raise RequestURITooLarge("The address is longer than any that this service has.")


def _services() -> Services:
    return cast(Services, current_app.extensions["callgate"])
