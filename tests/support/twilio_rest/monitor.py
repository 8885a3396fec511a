"""What Twilio reports about an account: the errors it recorded, and the countries it may call.

Sources: https://www.twilio.com/docs/usage/monitor-alert, https://www.twilio.com/docs/voice/api/dialingpermissions.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from aiohttp import web

from .errors import Refused

if TYPE_CHECKING:
    from . import FakeTwilioRest

LEVELS: Final = ("error", "warning", "notice", "debug")


class Monitor:
    """The resources. The API's ``alerts`` are the recorded errors, each a code and a time (UTC). ``countries`` maps
    each country's name to its code and whether it may be called."""

    def __init__(self, api: FakeTwilioRest) -> None:
        self._api = api

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/Alerts", self._alerts),
            web.get("/v1/DialingPermissions/Countries", self._countries),
        ]

    async def _alerts(self, request: web.Request) -> web.Response:
        level = request.query.get("LogLevel", "error")
        if level not in LEVELS:
            raise Refused(400, 20001, f"LogLevel {level} is not one of {', '.join(LEVELS)}")
        since = _time(request.query.get("StartDate", "1970-01-01T00:00:00Z"))
        noted = [(code, at) for code, at in self._api.alerts if at >= since]
        found = [_alert(code, at) for code, at in sorted(noted, key=lambda alert: alert[1], reverse=True)]
        return web.json_response({"alerts": found if level == "error" else [], "meta": {"next_page_url": None}})

    async def _countries(self, request: web.Request) -> web.Response:
        content = [
            {"name": name, "country_codes": [code], "low_risk_numbers_enabled": enabled}
            for name, (code, enabled) in self._api.countries.items()
        ]
        return web.json_response({"content": content, "meta": {"key": "content", "next_page_url": None}})


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise Refused(400, 20001, f"StartDate {text} is no time") from None


def _alert(code: int, at: datetime) -> dict[str, str]:
    return {"error_code": str(code), "log_level": "error", "date_created": f"{at:%Y-%m-%dT%H:%M:%SZ}"}
