"""Twilio's REST API for tests, on a loopback socket. It refuses what Twilio refuses.

    async with FakeTwilioRest(account_sid, auth_token, "+15551230009").serving() as twilio:
        create_app(config, http_client=twilio.http_client)

Each resource has its own file in this package, with a class that is constructed with the API and returns its
``routes()``; `RESOURCES` lists them. A handler answers, or raises `Refused`. Credentials, and what the API is told to
``refuse``, are checked here before any handler runs. `tls_for_hosts` and `by_name` make it reachable by Twilio's own
names over TLS.
"""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Any, Final

from aiohttp import encode_basic_auth, web
from aiohttp.typedefs import Handler

from .calls import Calls, Dial, PlacedCall, Updated
from .client import HOSTS, Redirected, by_name, tls_for_hosts
from .errors import NotFound, Refused, error_answer
from .monitor import Monitor
from .numbers import Numbers

__all__ = ["HOSTS", "FakeTwilioRest", "NotFound", "PlacedCall", "Redirected", "Refused", "by_name", "tls_for_hosts"]


class FakeTwilioRest:
    """The API. ``numbers`` are the account's numbers. ``calls`` holds the parameters of every placed call, ``live`` the
    status of every call, and ``updates`` the TwiML each call was given. For a number's ``webhooks``, see `Numbers`.

    ``dial`` is called for each call that is placed, ``updated`` for each call that is changed.
    """

    def __init__(self, account_sid: str, auth_token: str, number: str) -> None:
        self.account_sid = account_sid
        self.numbers = [number]
        self.without_voice: set[str] = set()
        self.webhooks: dict[str, dict[str, str]] = {}
        self.number_updates: list[dict[str, str]] = []
        self.account = {"status": "active", "type": "Full"}
        self.requests = 0
        self.alerts: list[tuple[int, datetime]] = []
        self.countries: dict[str, tuple[str, bool]] = {}
        self.calls: list[dict[str, list[str]]] = []
        self.placed: list[PlacedCall] = []
        self.live: dict[str, str] = {}
        self.updates: dict[str, str] = {}
        self.refuse: tuple[int, int, str] | None = None  # HTTP status, code, message
        self.dial: Dial | None = None
        self.updated: Updated | None = None
        self.port = 0
        self.http_client: Redirected
        self._authorization = encode_basic_auth(account_sid, auth_token)

    @contextlib.asynccontextmanager
    async def serving(
        self, tls: ssl.SSLContext | None = None, *, host: str = "127.0.0.1", port: int = 0
    ) -> AsyncIterator[FakeTwilioRest]:
        """Serve the API on a free loopback port or the given address, with TLS if a context is given."""
        app = web.Application(middlewares=[self._answer])
        for resource in RESOURCES:
            app.router.add_routes(resource(self).routes())
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, host, port, ssl_context=tls)
            await site.start()
            host, self.port = runner.addresses[0]
            self.http_client = Redirected(f"{'https' if tls else 'http'}://{host}:{self.port}")
            yield self
        finally:
            for connection in runner.server.connections if runner.server else ():
                # with TLS, the server would wait for a client that keeps the connection open
                if connection.transport is not None:
                    connection.transport.abort()
            await runner.cleanup()

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.requests += 1
        try:
            if request.headers.get("Authorization") != self._authorization:
                raise Refused(401, 20003, "Authenticate")
            if self.refuse is not None:
                raise Refused(*self.refuse)
            if request.match_info.get("account", self.account_sid) != self.account_sid:
                raise NotFound(request.path)
            return await handler(request)
        except Refused as exc:
            return error_answer(exc)
        except web.HTTPNotFound:
            return error_answer(NotFound(request.path))


RESOURCES: Final[list[Callable[[FakeTwilioRest], Any]]] = [Calls, Numbers, Monitor]
