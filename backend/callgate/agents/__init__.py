"""The agents that answer calls, from ``agents.toml``: a default one, and one for each number that has its own.

    text ─▶ schema (pydantic) ─▶ checks ─▶ convert ─▶ Agents ─▶ answer(parties, at) ─▶ Agent, or Closed
               toml_lines, problems: where in the file, and what to do

`AgentBook` reads and reloads the file; everything else is pure.
"""

from __future__ import annotations

from .assigned import Assigned, Assignment
from .book import AgentBook, agent_of, load_agents
from .parties import Parties
from .plan import AgentPlan, Agents, Closed
from .problems import AgentsError, Problem

__all__ = [
    "AgentBook",
    "AgentPlan",
    "Agents",
    "AgentsError",
    "Assigned",
    "Assignment",
    "Closed",
    "Parties",
    "Problem",
    "agent_of",
    "load_agents",
]
