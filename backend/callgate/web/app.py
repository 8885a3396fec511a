"""Creates the application: puts together the settings, the services and the routes."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import Any, Protocol

from quart import Quart, Response, has_request_context, request
from twilio.http import HttpClient
from werkzeug.exceptions import HTTPException

from callgate.agents import AgentBook
from callgate.config.settings import Config
from callgate.core.foreign import foreign
from callgate.core.wire import twiml
from callgate.errors import OutboundRefused, RequestRefused
from callgate.models.endpoints import endpoints
from callgate.models.upstream import Upstream
from callgate.store import Store
from callgate.websocket.on_hypercorn import takeover
from callgate.websocket.on_hypercorn.asgi_ending import EndsInTime
from callgate.websocket.on_hypercorn.handshake import refuse_bad_key

from .routes import routes
from .services import Services

log = logging.getLogger(__name__)

FORM_LIMIT = 64 * 1024  # bytes; Twilio's webhooks are about 2 kB
FORM_DEADLINE = 5  # seconds for a request's body to arrive


class ModelServer(Protocol):
    """A server of model sessions that runs in this process."""

    @property
    def url(self) -> str: ...


StartModelServer = Callable[[], AbstractAsyncContextManager[ModelServer]]


def create_app(
    config: Config,
    line_check: StartModelServer,
    *,
    agents: AgentBook | None = None,
    http_client: HttpClient | None = None,
) -> Quart:
    """Return the application for these settings. Raises `ConfigError`.

    ``line_check``: starts the server that answers calls if the settings name no model server. ``agents``: those of
    ``AGENTS_FILE`` by default. ``http_client``: for Twilio's REST API; the Twilio library's own by default.
    """
    config = config.with_rehearsal_token()
    book = agents or AgentBook(config)
    (takeover.install if config.fast_lane else takeover.uninstall)()
    app = Quart(__name__, static_folder=None)
    app.url_map.merge_slashes = False  # Twilio's requests must not be redirected
    app.config.update(MAX_CONTENT_LENGTH=FORM_LIMIT, BODY_TIMEOUT=FORM_DEADLINE)
    app.asgi_app = EndsInTime(app.asgi_app)  # type: ignore[method-assign, assignment]
    app.before_websocket(refuse_bad_key)
    app.register_blueprint(routes)
    app.register_error_handler(RequestRefused, _refused)
    app.register_error_handler(OutboundRefused, _not_placed)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _unexpected)

    @app.while_serving
    async def services() -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            url = (await stack.enter_async_context(line_check())).url if config.uses_line_check else None
            upstream = Upstream(endpoints(config, url))
            store = await stack.enter_async_context(Store(config))
            services = app.extensions["callgate"] = Services(config, book, upstream, store, http_client)
            await stack.enter_async_context(services.switchboard)
            await stack.enter_async_context(services.reattach)
            await stack.enter_async_context(services.outbound)
            yield

    return app


async def _refused(exc: RequestRefused) -> Response:
    log.warning("%s %s refused with 403: %s", foreign(request.method), foreign(request.path), exc)
    return Response("Forbidden\n", 403, content_type="text/plain")


async def _not_placed(exc: OutboundRefused) -> tuple[dict[str, Any], int, dict[str, str]]:
    headers = {"Retry-After": str(exc.retry_after)} if exc.retry_after else {}
    return {"ok": False, "error": exc.error, "fix": exc.fix}, exc.status, headers


async def _http_error(exc: HTTPException) -> Response:
    return Response(f"{exc.name}: {exc.description}\n", exc.code, content_type="text/plain")


async def _unexpected(exc: Exception) -> Response:
    """Handle a bug of this service. The caller must not hear Twilio's "application error", but hears an apology."""
    if not has_request_context():  # in a stream: it is closed, and the call's TwiML goes on
        log.error("Unexpected error in a media stream", exc_info=exc)
        return Response(status=500)
    log.error("Unexpected error at %s %s", foreign(request.method), foreign(request.path), exc_info=exc)
    if request.path in ("/incoming-call", twiml.INTERRUPTED, twiml.TRANSFERRED):
        return Response(twiml.apologise(None), content_type="text/xml; charset=utf-8")
    return Response("Internal server error\n", 500, content_type="text/plain")
