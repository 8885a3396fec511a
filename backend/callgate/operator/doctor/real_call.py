"""A test call for real: the backend rings a number through Twilio, and it is followed to its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from callgate.core.masking import mask_number
from callgate.errors import CallgateError
from callgate.operator.ready import backend_url

from .finding import Finding, ok, warning, wrong
from .reach import Unreachable, ask
from .waterfall import of_events
from .world import Case

SECONDS: Final = 1.0
LONGEST: Final = 180 * SECONDS
NEWS: Final = 6 * SECONDS  # how long the backend may wait for some
REQUEST_DEADLINE: Final = 30 * SECONDS
SILENCE: Final = 60 * SECONDS  # how long none may be heard
PAUSE: Final = 1 * SECONDS  # before it is asked again that was not heard
IN_ITS_PLACE: Final = (502, 503, 504)  # statuses of those that stand before a backend
READ_LOG: Final = "callgate calls show, with the call's SID, and Twilio's error log say more"


class NotPlaced(CallgateError):
    """The backend does not place the call, or does not tell of it. ``fix``: what to do."""

    def __init__(self, error: str, fix: str) -> None:
        super().__init__(error)
        self.fix = fix


class NotHeard(NotPlaced):
    """The backend was not heard; another try may succeed."""


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
        placed = await _ask(case, "POST", "/test-call-realtime", {"to": case.call_to})
        news = await _follow(case, str(placed.get("call_sid", "")), events)
    except NotPlaced as exc:
        return [wrong(str(exc), "a call to the number", exc.fix)]
    finally:
        case.parts += of_events(events)
    return [_judge(case, news)]


async def _follow(case: Case, call_sid: str, events: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Hear how the call goes, until it is over or takes too long. Raises `NotPlaced`."""
    loop = asyncio.get_running_loop()
    until, heard = loop.time() + LONGEST, loop.time()
    while True:
        query = {"after": str(len(events)), "wait": f"{NEWS:.0f}"}
        try:
            news = await _ask(case, "GET", f"/calls/{call_sid}", query)
        except NotHeard as exc:
            if loop.time() - heard > SILENCE:
                raise NotPlaced(f"the call may go on, and is followed no further: {exc}", exc.fix) from exc
            await asyncio.sleep(PAUSE)
            continue
        heard = loop.time()
        events += [event for event in news.get("events", []) if isinstance(event, dict)]
        if news.get("over") or loop.time() > until:
            return news


def _judge(case: Case, news: Mapping[str, Any]) -> Finding:
    number, status = mask_number(case.call_to), str(news.get("status", ""))
    if not news.get("over"):
        return warning(f"the call to {number} still goes on", "its end", "Hang up, when you have talked enough")
    if status != "completed":
        return wrong(f"the call to {number} ended as: {status}", "that somebody answers it", f"Answer it; {READ_LOG}")
    return ok(f"the call to {number} was answered, and completed")


async def _ask(case: Case, method: str, path: str, fields: Mapping[str, str]) -> Mapping[str, Any]:
    base, at = (backend_url(case.config), None) if case.is_local else (case.config.base_url, case.edge)
    headers = {"Authorization": f"Bearer {case.config.admin_token}"}
    try:
        answer = await ask(
            case.world, method, f"{base}{path}", at=at, headers=headers, params=fields, timeout=REQUEST_DEADLINE
        )
        body = json.loads(answer.body)
        if not isinstance(body, dict):
            raise ValueError("not an object")
    except (Unreachable, ValueError) as exc:
        raise NotHeard(f"the backend gives no answer: {exc}", "Read its log") from exc
    if answer.status >= 400:
        refusal = NotHeard if answer.status in IN_ITS_PLACE else NotPlaced
        error = str(body.get("error", f"the backend answers with status {answer.status}"))
        raise refusal(error, str(body.get("fix", "Read its log")))
    return body
