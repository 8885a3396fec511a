"""The addresses. Each route checks who asks, hands over to the switchboard, and returns what it says."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast

from quart import Blueprint, Quart, Response, current_app, has_request_context, request, websocket
from werkzeug.exceptions import BadRequest

from . import takeover, twiml
from .asgi_stream import AsgiStream
from .errors import RequestRefused
from .logs import call_sid as call_in_log
from .logs import request_id as request_in_log
from .outbound import Answer
from .outbound_rest import AMD_STATUS
from .page import status_page
from .reception import Reception
from .services import Services
from .tools import Absences
from .websocket_server import WebSocketServer

log = logging.getLogger(__name__)
routes = Blueprint("callgate", __name__)


@routes.before_app_request
@routes.before_app_websocket
async def _note_request_id() -> None:
    """Have the edge's id of the request in the log; a text that can't be one is not taken."""
    headers = request.headers if has_request_context() else websocket.headers
    given = headers.get("X-Request-ID", "")
    request_in_log.set(given if re.fullmatch("[0-9A-Za-z-]{1,64}", given) else "")


def _services(app: Quart | None = None) -> Services:
    return cast(Services, (app or current_app).extensions["callgate"])


def _target(scope: Mapping[str, Any]) -> str:
    """Path and query exactly as they were requested, as Twilio signed them."""
    raw_path, query = scope["raw_path"].decode("latin1"), scope["query_string"].decode("latin1")
    return f"{raw_path}?{query}" if query else raw_path


async def _twilio_params() -> Mapping[str, str]:
    """The parameters of a webhook that is Twilio's, for this account. Raises `RequestRefused`."""
    form = await request.form
    signature = _services().switchboard.signature
    signature.check_webhook(_target(request.scope), form, request.headers)
    params = cast(Mapping[str, str], form if request.method == "POST" else request.args)
    signature.check_account(params.get("AccountSid", ""))
    if not re.fullmatch("CA[0-9a-f]{32}", params.get("CallSid", "")):
        raise BadRequest("CallSid is missing, or not CA and 32 hexadecimal digits")
    call_in_log.set(params["CallSid"])
    return params


def _twiml(document: str) -> Response:
    return Response(document, content_type="text/xml; charset=utf-8")


@routes.route("/incoming-call", methods=["GET", "POST"])
async def incoming_call() -> Response:
    """The number's voice webhook."""
    return _twiml(_services().switchboard.incoming_call(await _twilio_params()))


@routes.post("/call-interrupted")
async def call_interrupted() -> Response:
    """Where TwiML goes on when a stream has ended and the caller is still there."""
    return _twiml(await _services().switchboard.call_interrupted(await _after_dialling(), *_counts()))


@routes.post("/call-transferred")
async def call_transferred() -> Response:
    """Where TwiML goes on when somebody was rung for the caller."""
    return _twiml(await _services().switchboard.call_transferred(await _after_dialling(), *_counts()))


async def _after_dialling() -> Mapping[str, str]:
    """The parameters, with what Twilio said of a ``<Dial>`` before the caller was asked to wait: in the URL since,
    which it signs. Raises `RequestRefused`."""
    params = await _twilio_params()
    dialed = request.args.get(twiml.DIALED, "")
    if "DialCallStatus" in params or dialed not in twiml.DIAL_STATUSES:
        return params
    return {**{name: params[name] for name in params}, "DialCallStatus": dialed}


def _counts() -> tuple[int, Absences]:
    """How often a call was cut off, and how often the agent left it: in the URL, which Twilio signs."""
    resumed, transfers, sendings = (
        max(request.args.get(name, default=0, type=int), 0) for name in ("resumed", "transfers", "sendings")
    )
    return resumed, Absences(transfers, sendings)


@routes.post("/call-status")
async def call_status() -> Response:
    """The number's status callback."""
    params = await _twilio_params()
    _services().switchboard.call_status(params)
    _services().outbound.status(params)
    return Response(status=204)


@routes.post("/stream-status")
async def stream_status() -> Response:
    """The stream's status callback."""
    params = await _twilio_params()
    _services().switchboard.stream_status(params)
    _services().outbound.stream(params)
    return Response(status=204)


@routes.post(AMD_STATUS)
async def amd_status() -> Response:
    """Whether a human or a machine has answered a call of our own."""
    await _services().outbound.answered_by(
        await _twilio_params(), request.args.get("message"), request.args.get("language")
    )
    return Response(status=204)


@routes.websocket("/media-stream")
@routes.websocket("/media-stream/<token>")
async def media_stream(token: str | None = None) -> Response | None:
    """The Media Stream. Who may not have one is answered 403, and not upgraded."""
    log.info("MEDIA STREAM WEBSOCKET ENDPOINT HIT!")
    services = _services()
    try:
        claim = services.switchboard.check_upgrade(_target(websocket.scope), websocket.headers, token)
    except RequestRefused as exc:
        log.warning("Media Stream refused with 403: %s", exc)
        return Response("Forbidden\n", 403, content_type="text/plain")
    await websocket.accept()
    log.info("Media Stream WebSocket connection ACCEPTED from Twilio")
    reception = Reception()
    server = WebSocketServer(reception)
    if services.switchboard.config.fast_lane and takeover.take(websocket.scope, server):
        await _uncancelled(services.switchboard.serve_stream(server, reception, claim))
        return None
    stream = AsgiStream(cast(Any, websocket)._get_current_object(), reception)
    stream.start()
    try:
        await _uncancelled(services.switchboard.serve_stream(stream, reception, claim), stream.peer_gone)
    finally:
        await stream.stop()
    return None


async def _uncancelled(serving: Coroutine[Any, Any, None], peer_gone: Callable[[], None] = lambda: None) -> None:
    """Serve a stream to its end, even where Quart cancels this task because the peer is gone."""
    served = asyncio.ensure_future(serving)
    try:
        await asyncio.shield(served)
    except asyncio.CancelledError:
        peer_gone()
        await served
        raise


def _authorization() -> str | None:
    return request.headers.get("Authorization")


def _idempotency_key() -> str | None:
    """What makes a request that is sent twice one call (draft-ietf-httpapi-idempotency-key-header)."""
    return request.headers.get("Idempotency-Key")


@routes.route("/test-call-realtime", methods=["GET", "POST"])
async def test_call_realtime() -> Answer:
    """Place the test call."""
    to = request.args.get("to") or (await request.form).get("to")
    return await _services().outbound.test_call(_authorization(), to, _idempotency_key())


@routes.post("/calls")
async def place_call() -> tuple[Answer, int]:
    """Place a call."""
    given = await (request.get_json(silent=True) if request.is_json else request.form)
    wanted = given if isinstance(given, Mapping) else {}
    answer = await _services().outbound.call(_authorization(), wanted, _idempotency_key())
    return answer, 200 if answer["again"] else 201


@routes.get("/calls/<call_sid>")
async def call_news(call_sid: str) -> Answer:
    """How a call that was placed goes."""
    after, wait = request.args.get("after", 0, type=int), request.args.get("wait", 0.0, type=float)
    return await _services().outbound.news(_authorization(), call_sid, after, wait)


@routes.delete("/calls/<call_sid>")
async def end_call(call_sid: str) -> Answer:
    """End a call that was placed."""
    return await _services().outbound.hang_up(_authorization(), call_sid)


@routes.get("/healthz")
async def healthz() -> Response:
    """The process lives."""
    return Response("ok\n", content_type="text/plain")


@routes.get("/readyz")
async def readyz() -> tuple[dict[str, Any], int]:
    """Whether a call would be answered now, and if not, why not."""
    state = _services().readiness()
    return state, 200 if state["ready"] else 503


@routes.get("/")
async def index() -> Response:
    """One page for a person: what this is, and whether it is ready."""
    return Response(status_page(ready=_services().readiness()["ready"]), content_type="text/html; charset=utf-8")
