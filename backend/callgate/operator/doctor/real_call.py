"""A real test call: the backend rings a number through Twilio, and the doctor follows the call to its end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from callgate.core.masking import mask_number
from callgate.core.units import SECONDS
from callgate.operator.ready import backend_url
from callgate.operator.service import Service, ServiceError

from .finding import Finding, ok, warning, wrong
from .waterfall import of_events
from .world import Case

LONGEST: Final = 180 * SECONDS
WHO_SAYS_MORE: Final = "callgate calls show, with the call's SID, and Twilio's error log tell you more"


async def call(case: Case) -> Sequence[Finding]:
    """Place the call, and wait until it is over. Its parts are kept for the report."""
    if case.config.admin_token is None:
        return [
            wrong(
                "ADMIN_TOKEN is not set",
                "the token that permits test calls",
                "Set it in .env to a long random string, and restart the backend",
            )
        ]
    events: list[Mapping[str, Any]] = []
    try:
        service = _service(case)
        placed = await service.ask("POST", "/test-call-realtime", params={"to": case.call_to})
        news = await _follow(service, str(placed.get("call_sid", "")), events)
    except ServiceError as exc:
        return [wrong(exc.error, "a call to the number", exc.fix)]
    finally:
        case.parts += of_events(events)
    return [_judge(case, news)]


async def _follow(service: Service, call_sid: str, events: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Collect the call's events until it is over or takes too long. Raises `ServiceError`."""
    loop = asyncio.get_running_loop()
    until, latest = loop.time() + LONGEST, dict[str, Any]()
    async with contextlib.aclosing(service.news(call_sid)) as news:
        async for latest in news:
            events += [event for event in latest.get("events", []) if isinstance(event, dict)]
            if loop.time() > until:
                break
    return latest


def _judge(case: Case, news: Mapping[str, Any]) -> Finding:
    number, status = mask_number(case.call_to), str(news.get("status", ""))
    if not news.get("over"):
        found = f"the call to {number} is still in progress"
        return warning(found, "the end of the call", "Hang up when you have talked enough")
    if status != "completed":
        found = f"the call to {number} ended with the status {status}"
        return wrong(found, "a call that somebody answers", f"Answer the call. {WHO_SAYS_MORE}")
    return ok(f"the call to {number} was answered, and completed")


def _service(case: Case) -> Service:
    """Return a client of the backend: directly if it runs on this machine, else through BASE_URL."""
    token, options = case.config.admin_token, {"route": case.world.route, "tls": case.world.trust()}
    if case.is_local:
        return Service(backend_url(case.config), token, **options)
    return Service(case.config.base_url, token, at=case.edge, **options)
