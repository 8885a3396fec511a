"""Twilio's REST API for tests, as far as placing a call goes, on a loopback socket. It refuses what Twilio refuses."""

from __future__ import annotations

import contextlib
import json
import re
import uuid
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import encode_basic_auth, web
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response

REAL = "https://api.twilio.com"


class Redirected(TwilioHttpClient):
    """Twilio's own HTTP client, whose socket goes to the fake; everything else is as it is in production."""

    def __init__(self, address: str) -> None:
        super().__init__(timeout=5)
        self._address = address

    def request(self, method: str, url: str, *args: Any, **kwargs: Any) -> Response:
        assert url.startswith(REAL)
        return super().request(method, self._address + url.removeprefix(REAL), *args, **kwargs)


class FakeTwilioRest:
    """The API. ``calls``: the parameters of every call that was placed. ``live``: the status of each call that there
    is. ``updates``: what each was told to do.
    """

    def __init__(self, account_sid: str, auth_token: str, number: str) -> None:
        self._account = encode_basic_auth(account_sid, auth_token)
        self._number = number
        self.requests = 0
        self.calls: list[dict[str, list[str]]] = []
        self.live: dict[str, str] = {}
        self.updates: dict[str, str] = {}
        self.refuse: tuple[int, int, str] | None = None  # HTTP status, code, message
        self.http_client: Redirected

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[FakeTwilioRest]:
        app = web.Application()
        app.router.add_post("/2010-04-01/Accounts/{account}/Calls.json", self._create_call)
        app.router.add_get("/2010-04-01/Accounts/{account}/Calls/{call}.json", self._call)
        app.router.add_post("/2010-04-01/Accounts/{account}/Calls/{call}.json", self._call)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0]
            self.http_client = Redirected(f"http://{host}:{port}")
            yield self
        finally:
            await runner.cleanup()

    async def _call(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.headers.get("Authorization") != self._account:
            return _error(401, 20003, "Authenticate")
        if self.refuse is not None:
            return _error(*self.refuse)
        call_sid = request.match_info["call"]
        if call_sid not in self.live:
            return _error(404, 20404, f"The requested resource {request.path} was not found")
        if request.method == "POST":
            if self.live[call_sid] != "in-progress":
                return _error(400, 21220, "Call is not in-progress. Cannot redirect.")
            self.updates[call_sid] = str((await request.post())["Twiml"])
        return web.json_response({"sid": call_sid, "status": self.live[call_sid]})

    async def _create_call(self, request: web.Request) -> web.Response:
        self.requests += 1
        if request.headers.get("Authorization") != self._account:
            return _error(401, 20003, "Authenticate")
        if self.refuse is not None:
            return _error(*self.refuse)
        form = await request.post()
        to, caller = str(form.get("To", "")), str(form.get("From", ""))
        if not re.fullmatch(r"\+[1-9]\d{6,14}", to):
            return _error(400, 21211, f"The 'To' number {to} is not a valid phone number.")
        if caller != self._number:
            return _error(400, 21210, f"The source phone number provided, {caller}, is not yet verified.")
        if not str(form.get("Url", "")).startswith("https://"):
            return _error(400, 21205, "Url parameter is required.")
        self.calls.append({key: [str(value) for value in form.getall(key)] for key in form})
        body = {"sid": "CA" + uuid.uuid4().hex, "status": "queued", "to": to, "from": caller}
        return web.json_response(body, status=201)


def _error(status: int, code: int, message: str) -> web.Response:
    body = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")
