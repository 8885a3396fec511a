"""A test call for real: the backend rings a number through Twilio, and it is followed to its end."""

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
WHO_SAYS_MORE: Final = "callgate calls show, with the call's SID, and Twilio's error log say more"


async def call(case: Case) -> Sequence[Finding]:
    """Ring, and wait until it is over. Its parts are kept for the report."""
    if case.config.admin_token is None:
        return [
            wrong(
                "ADMIN_TOKEN is not set",
                "the token that lets a test call be placed",
                "Set it in .env, to a long random text",
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
    """Hear how the call goes, until it is over or takes too long. Raises `ServiceError`."""
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
        return warning(f"the call to {number} still goes on", "its end", "Hang up, when you have talked enough")
    if status != "completed":
        return wrong(
            f"the call to {number} ended as: {status}", "that somebody answers it", f"Answer it; {WHO_SAYS_MORE}"
        )
    return ok(f"the call to {number} was answered, and completed")


def _service(case: Case) -> Service:
    """The backend, where it can be asked; reached as everything else is."""
    token, options = case.config.admin_token, {"route": case.world.route, "tls": case.world.trust()}
    if case.is_local:
        return Service(backend_url(case.config), token, **options)
    return Service(case.config.base_url, token, at=case.edge, **options)
