"""Read-only access to Twilio's REST API, with Twilio's client, in the doctor's world."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twilio.rest import Client

from callgate.network.twilio_rest import TwilioRest, TwilioUnreachableError
from callgate.operator.twilio_client import AskingHttpClient

from .finding import Finding, warning
from .world import Case


def why_not(case: Case) -> str | None:
    """Return why the REST API can't be used, or None if it can."""
    if case.config.twilio_account_sid is None:
        return "TWILIO_ACCOUNT_SID is not set"
    return None


def no_way(exc: TwilioUnreachableError) -> Finding:
    """Return the finding that the REST API can't be reached."""
    do = "Check this machine's network: test calls, and the recovery of interrupted calls, need this API too"
    return warning(f"Twilio's REST API can't be reached from here: {exc}", "an answer from Twilio", do)


async def get(case: Case, request: Callable[[Client], Any]) -> dict[str, Any]:
    """Get a resource as JSON. Raises `TwilioRefused` and `TwilioUnreachableError`."""
    http_client = AskingHttpClient(route=case.world.route, tls=case.world.trust_companies())
    client = Client(case.config.twilio_account_sid, case.config.twilio_auth_tokens[0], http_client=http_client)
    found = await TwilioRest(client, 1).ask(request)
    return found if isinstance(found, dict) else {}
