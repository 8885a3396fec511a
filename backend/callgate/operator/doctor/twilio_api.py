"""Twilio's REST API, as far as it is read from. Source: https://www.twilio.com/docs/usage/twilios-response."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

from callgate.errors import CallgateError

from .finding import Finding, warning
from .reach import Unreachable, ask
from .world import Case


class Refused(CallgateError):
    """Twilio's REST API says no. ``code``: Twilio's own, 0 where there is none."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.code = status, code
        super().__init__(f"status {status}, error {code}: {message}" if code else f"status {status}")


def why_not(case: Case) -> str | None:
    """Why it can't be asked at all, where it can't."""
    if case.config.twilio_account_sid is None:
        return "TWILIO_ACCOUNT_SID is not set"
    return None


def no_way(exc: Unreachable) -> Finding:
    """It can't be reached."""
    do = "Look at this machine's network: test calls, and calls that are to be fetched back, need it too"
    return warning(f"Twilio's REST API can't be reached from here: {exc}", "an answer", do)


async def get(case: Case, base: str, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Ask for a resource. Raises `Refused`, `Unreachable`."""
    credentials = f"{case.config.twilio_account_sid}:{case.config.twilio_auth_tokens[0]}"
    headers = {"Authorization": f"Basic {b64encode(credentials.encode()).decode()}"}
    tls = case.world.trust_companies()
    answer = await ask(case.world, "GET", f"{base}{path}", tls=tls, headers=headers, params=query)
    try:
        body = json.loads(answer.body)
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    if answer.status != 200:
        code = body.get("code")
        raise Refused(answer.status, code if isinstance(code, int) else 0, str(body.get("message", "")))
    return body
