"""The backend itself: whether it is running, and whether it would answer a call now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from callgate.operator.ask import Answer, UnreachableError
from callgate.operator.ready import backend_url

from .finding import Finding, ok, skipped, warning, wrong
from .handshake import unjudging
from .world import Case

LOG: Final = "docker compose -f docker-compose.prod.yml logs backend"


async def alive(case: Case) -> Sequence[Finding]:
    """Whether the backend is running, here or behind BASE_URL."""
    try:
        answer = await case.world.ask("GET", f"{backend_url(case.config)}/healthz")
    except UnreachableError as exc:
        return [await _behind(case, exc)]
    if not _is_ours(answer):
        found = f"something other than the backend answers on port {case.config.port}"
        return [wrong(found, "the backend", "Find what uses the port (ss -ltnp) and stop it, or set another PORT")]
    case.is_local = True
    return [ok(f"it is running, and listens on port {case.config.port}")]


async def _behind(case: Case, here: UnreachableError) -> Finding:
    try:
        answer = await case.world.ask("GET", f"{case.config.base_url}/healthz", at=case.edge, tls=unjudging())
    except UnreachableError:
        answer = None
    if answer is not None and _is_ours(answer):
        return ok("it is running, in a container or on another machine: it answers at BASE_URL")
    found = f"the backend is not running: nothing answers at {backend_url(case.config)} ({here})"
    if answer is not None:
        found += f", and BASE_URL answers with status {answer.status}"
    do = f"Start it: docker compose -f docker-compose.prod.yml up -d. To see why it stopped: {LOG}"
    return wrong(found, "a running backend", do)


async def ready(case: Case) -> Sequence[Finding]:
    """What the backend reports at /readyz, which nginx does not forward."""
    if not case.is_local and not case.is_tunnel:
        where = "docker compose -f docker-compose.prod.yml exec backend callgate doctor"
        return [skipped(f"/readyz can be read only inside the bundle, with: {where}")]
    try:
        if case.is_local:
            answer = await case.world.ask("GET", f"{backend_url(case.config)}/readyz")
        else:
            answer = await case.world.ask("GET", f"{case.config.base_url}/readyz", at=case.edge)
        if (state := answer.document) is None:
            raise UnreachableError(f"status {answer.status}, and no JSON")
        problems, warnings = [str(text) for text in state["problems"]], [str(text) for text in state["warnings"]]
    except (UnreachableError, KeyError, TypeError) as exc:
        return [
            wrong(f"/readyz does not answer as the backend does: {exc}", "the backend's state", f"Read its log: {LOG}")
        ]
    findings = [wrong(text, "a backend that takes calls", f"Read its log: {LOG}") for text in problems]
    findings += [warning(text, "a store that works", "See docs/store.md for what to do") for text in warnings]
    return findings or [ok(f"it would answer a call now; calls in progress: {state.get('live_calls', 0)}")]


def _is_ours(answer: Answer) -> bool:
    return answer.status == 200 and answer.body == b"ok\n"
