"""The account and its numbers: list, read, and change where they lead.

Source: https://www.twilio.com/docs/iam/api/account, https://www.twilio.com/docs/phone-numbers/api/incomingphonenumber-resource.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from aiohttp import web

from .errors import NotFound, Refused

if TYPE_CHECKING:
    from . import FakeTwilioRest

BASE: Final = "/2010-04-01/Accounts/{account}"
NEW: Final = {
    "voice_url": "https://demo.twilio.com/welcome/voice/",
    "voice_method": "POST",
    "voice_fallback_url": "",
    "voice_fallback_method": "POST",
    "status_callback": "",
    "status_callback_method": "POST",
    "voice_application_sid": "",
    "trunk_sid": None,
}  # the fields of a newly bought number
URLS: Final = ("voice_url", "voice_fallback_url", "status_callback")
METHODS: Final = ("voice_method", "voice_fallback_method", "status_callback_method")
SIDS: Final = {"voice_application_sid": "AP", "trunk_sid": "TK"}


def sid_of(phone_number: str) -> str:
    """Return the SID that a number has here."""
    return "PN" + hashlib.md5(phone_number.encode(), usedforsecurity=False).hexdigest()


class Numbers:
    """The resources. The API's ``numbers`` are the account's numbers, ``webhooks`` each number's changes from a new
    number's fields, ``account`` the account's fields, and ``number_updates`` the parameters of every change."""

    def __init__(self, api: FakeTwilioRest) -> None:
        self._api = api

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get(f"{BASE}.json", self._account),
            web.get(f"{BASE}/IncomingPhoneNumbers.json", self._list),
            web.get(f"{BASE}/IncomingPhoneNumbers/{{number}}.json", self._fetch),
            web.post(f"{BASE}/IncomingPhoneNumbers/{{number}}.json", self._update),
        ]

    async def _account(self, request: web.Request) -> web.Response:
        return web.json_response({"sid": self._api.account_sid, **self._api.account})

    async def _list(self, request: web.Request) -> web.Response:
        wanted = request.query.get("PhoneNumber", "")
        found = [self._as_json(number) for number in self._api.numbers if wanted in number]
        return web.json_response({"incoming_phone_numbers": found, "next_page_uri": None, "page": 0, "page_size": 50})

    async def _fetch(self, request: web.Request) -> web.Response:
        return web.json_response(self._as_json(self._known(request)))

    async def _update(self, request: web.Request) -> web.Response:
        number = self._known(request)
        form = {key: str(value) for key, value in (await request.post()).items()}
        changes = {re.sub(r"(?<!^)(?=[A-Z])", "_", key).lower(): value for key, value in form.items()}
        for name, value in changes.items():
            _check(name, value)
        # Setting one of the two clears the other.
        if changes.get("voice_application_sid"):
            changes["trunk_sid"] = ""
        elif changes.get("trunk_sid"):
            changes["voice_application_sid"] = ""
        self._api.number_updates.append(form)
        self._api.webhooks[number] = self._api.webhooks.get(number, {}) | changes
        return web.json_response(self._as_json(number))

    def _known(self, request: web.Request) -> str:
        for number in self._api.numbers:
            if sid_of(number) == request.match_info["number"]:
                return number
        raise NotFound(request.path)

    def _as_json(self, number: str) -> dict[str, Any]:
        return {
            "sid": sid_of(number),
            "account_sid": self._api.account_sid,
            "phone_number": number,
            "friendly_name": number,
            "capabilities": {"voice": number not in self._api.without_voice, "sms": True, "mms": False, "fax": False},
            **NEW,
            **self._api.webhooks.get(number, {}),
        }


def _check(name: str, value: str) -> None:
    if name in URLS:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise Refused(400, 21402, f"{name} is not a valid URL: {value}")
    elif name in METHODS:
        if value not in ("GET", "POST"):
            raise Refused(400, 21403, f"{name} must be GET or POST")
    elif name in SIDS:
        if value and not re.fullmatch(SIDS[name] + "[0-9a-f]{32}", value):
            raise Refused(400, 20001, f"{name} {value} is not valid")
    else:
        raise Refused(400, 20001, f"Unknown parameter {name}")
