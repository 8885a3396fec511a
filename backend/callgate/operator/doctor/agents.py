"""The agents file, read as the backend reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from callgate.agents import AgentsError, load_agents
from callgate.agents.book import summary

from .finding import Finding, ok, wrong
from .world import Case

CORRECT: Final = "Correct it (see docs/agents.md), run callgate agents check, and restart the backend"


async def file(case: Case) -> Sequence[Finding]:
    """Whether the file can be used. Each problem in it is a finding. Its agents are kept for `models`."""
    try:
        case.agents = await asyncio.to_thread(load_agents, case.config)
    except AgentsError as exc:
        return [wrong(problem, "agents that the backend can use", CORRECT) for problem in exc.problems]
    return [ok(summary(case.agents))]
