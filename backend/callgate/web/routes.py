"""The HTTP routes. Each checks who sent the request, passes it to a service, and returns the answer."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from quart import Blueprint, Quart, Response, current_app, has_request_context, request, websocket

from callgate.call.reception import Reception
from callgate.core.absences import Absences
from callgate.core.wire import twiml
from callgate.errors import RequestRefused
from callgate.logs.setup import request_id as request_in_log
from callgate.outbound.calls import Answer
from callgate.outbound.twilio_calls import AMD_STATUS
from callgate.websocket.on_hypercorn import takeover
from callgate.websocket.on_hypercorn.asgi_stream import AsgiStream
from callgate.websocket.server import WebSocketServer

from .page import status_page
from .proof import Webhook, event_of_twilio, fields_of_operator, from_anybody, from_operator, from_twilio, target_of
from .services import Services

log = logging.getLogger(__name__)
routes = Blueprint("callgate", __name__)


@routes.before_app_request
@routes.before_app_websocket
async def _note_request_id() -> None:
    """Put the request id that the edge assigned into the log, unless it is malformed."""
    headers = request.headers if has_request_context() else websocket.headers
    given = headers.get("X-Request-ID", "")
    request_in_log.set(given if re.fullmatch("[0-9A-Za-z-]{1,64}", given) else "")


def _services(app: Quart | None = None) -> Services:
    return cast(Services, (app or current_app).extensions["callgate"])


def _twiml(document: str) -> Response:
    return Response(document, content_type="text/xml; charset=utf-8")


@routes.route("/incoming-call", methods=["GET", "POST"])
@from_twilio
async def incoming_call(webhook: Webhook) -> Response:
    """Answer the number's voice webhook."""
    return _twiml(await _services().switchboard.first_webhook.answer(webhook.params, _repeat(webhook)))


@routes.post("/call-interrupted")
@from_twilio
async def call_interrupted(webhook: Webhook) -> Response:
    """Answer where the TwiML goes on when a stream has ended and the caller is still on the line."""
    params = _after_dialling(webhook)
    return _twiml(
        await _services().switchboard.after_stream.call_interrupted(params, *_counts(webhook), _repeat(webhook))
    )


@routes.post("/call-transferred")
@from_twilio
async def call_transferred(webhook: Webhook) -> Response:
    """Answer where the TwiML goes on after the ``<Dial>`` of a transfer."""
    params = _after_dialling(webhook)
    return _twiml(
        await _services().switchboard.after_stream.call_transferred(params, *_counts(webhook), _repeat(webhook))
    )


def _after_dialling(webhook: Webhook) -> Mapping[str, str]:
    """Return the parameters, with the status of a ``<Dial>`` from before the caller was asked to wait. Since then it
    is in the URL, which Twilio signs."""
    params, dialed = webhook.params, webhook.query.get(twiml.DIALED, "")
    if "DialCallStatus" in params or dialed not in twiml.DIAL_STATUSES:
        return params
    return {**{name: params[name] for name in params}, "DialCallStatus": dialed}


def _counts(webhook: Webhook) -> tuple[int, Absences]:
    """Return how often the call was cut off and how often the agent left it. The counts are in the URL, which Twilio
    signs, or, if this is the number's fallback URL, in the URL that failed."""
    query = webhook.query
    if "resumed" not in query:
        query = dict(parse_qsl(urlsplit(webhook.params.get("ErrorUrl", "")).query))
    resumed, transfers, sendings = (_count(query.get(name, "")) for name in ("resumed", "transfers", "sendings"))
    return resumed, Absences(transfers, sendings)


def _repeat(webhook: Webhook) -> str:
    return webhook.query.get(twiml.REPEAT, "")


def _count(text: str) -> int:
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else 0


@routes.post("/call-status")
@event_of_twilio
async def call_status(webhook: Webhook) -> None:
    """Handle a call's status callback."""
    _services().switchboard.call_status(webhook.params)
    _services().outbound.status(webhook.params)


@routes.post("/stream-status")
@event_of_twilio
async def stream_status(webhook: Webhook) -> None:
    """Handle a stream's status callback."""
    _services().switchboard.stream_status(webhook.params)
    _services().outbound.stream(webhook.params)


@routes.post(AMD_STATUS)
@event_of_twilio
async def amd_status(webhook: Webhook) -> None:
    """Handle the answering machine detection's callback for an outbound call."""
    query = webhook.query
    await _services().outbound.answered_by(webhook.params, query.get("message"), query.get("language"))


@routes.websocket("/media-stream")
@routes.websocket("/media-stream/<token>")
@routes.websocket("/media-stream/<proof>/<token>")
async def media_stream(token: str | None = None, proof: str = "") -> Response | None:
    """Serve a Media Stream. A request that is not allowed gets 403 and no upgrade. ``proof`` is only for the edge."""
    log.info("MEDIA STREAM WEBSOCKET ENDPOINT HIT!")
    services = _services()
    try:
        claim = services.switchboard.streams.check_upgrade(target_of(websocket.scope), websocket.headers, token)
    except RequestRefused as exc:
        log.warning("Media Stream refused with 403: %s", exc)
        return Response("Forbidden\n", 403, content_type="text/plain")
    await websocket.accept()
    log.info("Media Stream WebSocket connection ACCEPTED from Twilio")
    reception = Reception()
    server = WebSocketServer(reception)
    if services.switchboard.config.fast_lane and takeover.take(websocket.scope, server):
        await _uncancelled(services.switchboard.streams.serve(server, reception, claim))
        return None
    stream = AsgiStream(cast(Any, websocket)._get_current_object(), reception)
    stream.start()
    try:
        await _uncancelled(services.switchboard.streams.serve(stream, reception, claim), stream.peer_gone)
    finally:
        await stream.stop()
    return None


async def _uncancelled(serving: Coroutine[Any, Any, None], peer_gone: Callable[[], None] = lambda: None) -> None:
    """Serve a stream to its end, even if Quart cancels this task because the peer is gone."""
    served = asyncio.ensure_future(serving)
    try:
        await asyncio.shield(served)
    except asyncio.CancelledError:
        peer_gone()
        await served
        raise


def _idempotency_key() -> str | None:
    """Return the key that keeps a repeated request from placing a second call
    (draft-ietf-httpapi-idempotency-key-header)."""
    return request.headers.get("Idempotency-Key")


@routes.route("/test-call-realtime", methods=["GET", "POST"])
@from_operator
async def test_call_realtime() -> Answer:
    """Place the test call."""
    to = request.args.get("to") or (await fields_of_operator()).get("to")
    return await _services().outbound.test_call(to, _idempotency_key())


@routes.post("/calls")
@from_operator
async def place_call() -> tuple[Answer, int]:
    """Place a call."""
    answer = await _services().outbound.call(await fields_of_operator(), _idempotency_key())
    return answer, 200 if answer["again"] else 201


@routes.get("/calls/<call_sid>")
@from_operator
async def call_news(call_sid: str) -> Answer:
    """Return how an outbound call is going."""
    after, wait = request.args.get("after", 0, type=int), request.args.get("wait", 0.0, type=float)
    return await _services().outbound.news(call_sid, after, wait)


@routes.delete("/calls/<call_sid>")
@from_operator
async def end_call(call_sid: str) -> Answer:
    """End an outbound call."""
    return await _services().outbound.hang_up(call_sid)


@routes.get("/healthz")
@from_anybody
async def healthz() -> Response:
    """Report that the process is alive."""
    return Response("ok\n", content_type="text/plain")


@routes.get("/readyz")
@from_anybody
async def readyz() -> tuple[dict[str, Any], int]:
    """Report whether a call would be answered now, and if not, why not."""
    state = _services().readiness()
    return state, 200 if state["ready"] else 503


@routes.get("/")
@from_anybody
async def index() -> Response:
    """Show people one page: what this is, and whether it is ready."""
    return Response(status_page(ready=_services().readiness()["ready"]), content_type="text/html; charset=utf-8")
