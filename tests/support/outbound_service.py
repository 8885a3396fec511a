"""A service that may place calls, with a fake Twilio that takes them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from support.service import ACCOUNT, AUTH_TOKEN, Service, config_for, running
from support.twilio_rest import FakeTwilioRest

OURS, LISTED, THEIRS = "+15551230009", "+15551230001", "+15557654321"
ADMIN = {"Authorization": "Bearer the-admin-token"}
SETTINGS = {
    "ADMIN_TOKEN": "the-admin-token",
    "TEST_CALL_TO": LISTED,
    "TWILIO_PHONE_NUMBER": OURS,
    "OUTBOUND_ALLOW": "+1555*",
    "OUTBOUND_RATE": "100",
    "OUTBOUND_DAILY_CAP": "100",
}


def twilio_rest() -> FakeTwilioRest:
    """Return the account's REST API, not yet serving."""
    return FakeTwilioRest(ACCOUNT, AUTH_TOKEN, OURS)


class Outbound:
    """Requests to the service's addresses for outbound calls."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def ask(self, method: str, path: str, *, key: str | None = None, headers: Any = ADMIN, **options: Any) -> Any:
        """Make a request, and return status, body and headers."""
        headers = {**headers, **({"Idempotency-Key": key} if key else {})}
        url = f"http://{self.service.address}{path}"
        async with self.service.http.request(method, url, headers=headers, **options) as response:
            return response.status, json.loads(await response.text()), response.headers

    async def call(self, to: str = THEIRS, **options: Any) -> Any:
        """Ask for a call. Options of the HTTP request itself are passed to `ask`."""
        of_request = {name: options.pop(name) for name in ("key", "headers") if name in options}
        return await self.ask("POST", "/calls", json={"to": to, **options}, **of_request)

    async def placed(self, to: str = THEIRS, **options: Any) -> str:
        """Place a call, and return its CallSid."""
        status, answer, _ = await self.call(to, **options)
        assert status == 201, answer
        return str(answer["call_sid"])

    async def news(self, call_sid: str, after: int = 0, wait: float = 0) -> dict[str, Any]:
        """Return a call's status and events."""
        status, answer, _ = await self.ask("GET", f"/calls/{call_sid}?after={after}&wait={wait}")
        assert status == 200, answer
        return dict(answer)

    async def told(self, path: str, call_sid: str, **params: str) -> None:
        """Send Twilio's webhook about an outbound call."""
        known = {"CallSid": call_sid, "Direction": "outbound-api", "From": OURS, "To": THEIRS}
        assert (await self.service.webhook(path, **{**known, **params}))[0] in (200, 204)


@contextlib.asynccontextmanager
async def outbound(
    model_url: str, data_dir: Path, twilio: FakeTwilioRest | None, **settings: str
) -> AsyncIterator[Outbound]:
    """Run such a service. With ``twilio`` None, it reaches Twilio as in production, by its real name."""
    config = config_for(model_url, data_dir, **{**SETTINGS, **settings})
    async with running(config, http_client=twilio and twilio.http_client) as service:
        yield Outbound(service)
