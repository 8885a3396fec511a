"""Calls: place, read and update them. Source: https://www.twilio.com/docs/voice/api/call-resource."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from .errors import NotFound, Refused

if TYPE_CHECKING:
    from . import FakeTwilioRest

LONGEST_TWIML: Final = 4000  # characters, in an update
OVER: Final = ("completed", "canceled", "busy", "failed", "no-answer")


@dataclass
class PlacedCall:
    """A placed call and its outcome. ``parameters`` holds all values of each name as they were sent."""

    sid: str
    parameters: dict[str, list[str]]
    updates: list[dict[str, str]] = field(default_factory=list)

    def parameter(self, name: str, default: str = "") -> str:
        """Return the first value of a parameter."""
        return self.parameters.get(name, [default])[0]


class Calls:
    """The resource. Its state is the API's ``live`` and ``updates``, which tests read and write."""

    def __init__(self, api: FakeTwilioRest) -> None:
        self._api = api

    def routes(self) -> list[web.RouteDef]:
        base = "/2010-04-01/Accounts/{account}/Calls"
        return [
            web.post(f"{base}.json", self._create),
            web.get(f"{base}/{{call}}.json", self._fetch),
            web.post(f"{base}/{{call}}.json", self._update),
        ]

    async def _create(self, request: web.Request) -> web.Response:
        form = await request.post()
        parameters = {key: [str(value) for value in form.getall(key)] for key in form}
        call = PlacedCall("CA" + uuid.uuid4().hex, parameters)
        to, caller = call.parameter("To"), call.parameter("From")
        if not re.fullmatch(r"\+[1-9]\d{6,14}", to):
            raise Refused(400, 21211, f"The 'To' number {to} is not a valid phone number.")
        if caller not in self._api.numbers:
            raise Refused(400, 21210, f"The source phone number provided, {caller}, is not yet verified.")
        if not call.parameter("Url").startswith("https://"):
            raise Refused(400, 21205, "Url parameter is required.")
        _check_detection(call)
        self._api.calls.append(parameters)
        self._api.placed.append(call)
        self._api.live[call.sid] = "queued"
        if self._api.dial is not None:
            self._api.dial(call)
        return web.json_response(_as_json(call.sid, "queued", to=to, **{"from": caller}), status=201)

    async def _fetch(self, request: web.Request) -> web.Response:
        return self._answer(self._known(request))

    async def _update(self, request: web.Request) -> web.Response:
        call_sid = self._known(request)
        form = {key: str(value) for key, value in (await request.post()).items()}
        status = self._api.live[call_sid]
        if form.get("Status") in ("completed", "canceled"):
            if status not in OVER:
                self._api.live[call_sid] = "completed" if status == "in-progress" else "canceled"
        else:
            self._redirect(call_sid, status, form)
        for call in self._api.placed:
            if call.sid == call_sid:
                call.updates.append(form)
        if self._api.updated is not None:
            self._api.updated(call_sid, form)
        return self._answer(call_sid)

    def _redirect(self, call_sid: str, status: str, form: dict[str, str]) -> None:
        if status != "in-progress":
            raise Refused(400, 21220, "Call is not in-progress. Cannot redirect.")
        twiml = form.get("Twiml", "")
        if len(twiml) > LONGEST_TWIML:
            raise Refused(400, 21623, f"The Twiml parameter is longer than {LONGEST_TWIML} characters")
        self._api.updates[call_sid] = twiml or form["Url"]

    def _known(self, request: web.Request) -> str:
        call_sid = request.match_info["call"]
        if call_sid not in self._api.live:
            raise NotFound(request.path)
        return call_sid

    def _answer(self, call_sid: str) -> web.Response:
        return web.json_response(_as_json(call_sid, self._api.live[call_sid]))


def _check_detection(call: PlacedCall) -> None:
    detection = call.parameter("MachineDetection", "Enable")
    if detection not in ("Enable", "DetectMessageEnd"):
        raise Refused(400, 21218, f"MachineDetection {detection} is neither Enable nor DetectMessageEnd")
    if call.parameter("AsyncAmd", "false") == "true" and "MachineDetection" not in call.parameters:
        raise Refused(400, 21218, "AsyncAmd needs MachineDetection")


def _as_json(call_sid: str, status: str, **more: Any) -> dict[str, Any]:
    return {"sid": call_sid, "status": status, **more}


Dial = Callable[[PlacedCall], None]
Updated = Callable[[str, dict[str, str]], None]
