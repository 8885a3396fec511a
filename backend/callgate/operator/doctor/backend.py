"""The backend itself: does it run, and would it answer a call now."""

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
    """Whether it runs, here or behind BASE_URL."""
    try:
        answer = await case.world.ask("GET", f"{backend_url(case.config)}/healthz")
    except UnreachableError as exc:
        return [await _behind(case, exc)]
    if not _is_ours(answer):
        found = f"something else than the backend answers at port {case.config.port}"
        return [wrong(found, "the backend", "Choose another PORT, or end what has it: ss -ltnp")]
    case.is_local = True
    return [ok(f"it runs, and listens on port {case.config.port}")]


async def _behind(case: Case, here: UnreachableError) -> Finding:
    try:
        answer = await case.world.ask("GET", f"{case.config.base_url}/healthz", at=case.edge, tls=unjudging())
    except UnreachableError:
        answer = None
    if answer is not None and _is_ours(answer):
        return ok("it runs, on another machine or in a container: it answers at BASE_URL")
    found = f"the backend does not run: nothing answers at {backend_url(case.config)} ({here})"
    if answer is not None:
        found += f", and at BASE_URL comes status {answer.status}"
    return wrong(found, "a running backend", f"docker compose -f docker-compose.prod.yml up -d; why it ended: {LOG}")


async def ready(case: Case) -> Sequence[Finding]:
    """What it says of itself: /readyz, which nginx does not hand on."""
    if not case.is_local and not case.is_tunnel:
        return [skipped("/readyz is private: docker compose -f docker-compose.prod.yml exec backend callgate doctor")]
    try:
        if case.is_local:
            answer = await case.world.ask("GET", f"{backend_url(case.config)}/readyz")
        else:
            answer = await case.world.ask("GET", f"{case.config.base_url}/readyz", at=case.edge)
        if (state := answer.document) is None:
            raise UnreachableError(f"what answers with status {answer.status} is something else")
        problems, warnings = [str(text) for text in state["problems"]], [str(text) for text in state["warnings"]]
    except (UnreachableError, KeyError, TypeError) as exc:
        return [
            wrong(f"/readyz gives no answer of the backend's: {exc}", "whether it is ready", f"Read its log: {LOG}")
        ]
    findings = [wrong(text, "a backend that takes calls", f"Read its log: {LOG}") for text in problems]
    findings += [warning(text, "a store that works", "docs/store.md says what to do") for text in warnings]
    return findings or [ok(f"it would answer a call now; {state.get('live_calls', 0)} are on the line")]


def _is_ours(answer: Answer) -> bool:
    return answer.status == 200 and answer.body == b"ok\n"
