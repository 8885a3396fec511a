"""The agents of one file, as values: which agent gets a call, and its texts for that call. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

from callgate.core.agent import Agent

from .hours import Hours
from .parties import Parties
from .variables import fill, values

UTC: Final = ZoneInfo("UTC")


@dataclass(frozen=True, slots=True)
class AnswerWith:
    """Outside the opening hours, another agent answers. ``agent``: its name."""

    agent: str


@dataclass(frozen=True, slots=True)
class SayClosed:
    """Outside the opening hours, the caller hears ``sentence``, which may hold variables, and the call ends."""

    sentence: str


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """An agent before the caller is known. ``agent``: its texts may hold variables. ``hours``: when it answers; None:
    always. ``when_closed``: what happens at other times; None: it answers anyway."""

    agent: Agent
    time_zone: ZoneInfo = UTC
    hours: Hours | None = None
    when_closed: AnswerWith | SayClosed | None = None

    def filled(self, parties: Parties, at: datetime) -> Agent:
        """Return the agent for one call, with the variables in its texts filled in."""
        agent, given = self.agent, self._values(parties, at)
        return replace(
            agent,
            instructions=fill(agent.instructions, given),
            greeting=fill(agent.greeting, given),
            consent=fill(agent.consent, given) if agent.consent else None,
        )

    def closed(self, sentence: str, parties: Parties, at: datetime) -> Closed:
        """Return what a caller hears outside the opening hours."""
        return Closed(fill(sentence, self._values(parties, at)), self.agent.language)

    def is_open(self, at: datetime) -> bool:
        """Whether the agent answers at the time ``at``."""
        return self.hours is None or self.hours.is_open(at)

    def _values(self, parties: Parties, at: datetime) -> dict[str, str]:
        return values(parties, at, self.time_zone, is_open=self.is_open(at))


@dataclass(frozen=True, slots=True)
class Closed:
    """Nobody answers now: the caller hears ``sentence``, in ``language`` if that is known, and the call ends."""

    sentence: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Agents:
    """All agents. ``numbers``: by called number; all other numbers have ``default``. ``named``: those that answer for
    others. ``source``: the file; empty if the settings describe the only agent. ``secrets``: masked in the log."""

    default: AgentPlan
    numbers: Mapping[str, AgentPlan] = field(default_factory=lambda: MappingProxyType({}))
    named: Mapping[str, AgentPlan] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def answer(self, parties: Parties, at: datetime) -> Agent | Closed:
        """Return who answers a call that comes at the time ``at``, which is timezone-aware."""
        plan = self._of(parties)
        if isinstance(plan.when_closed, SayClosed) and not (parties.outbound or plan.is_open(at)):
            return plan.closed(plan.when_closed.sentence, parties, at)
        return self.agent(parties, at)

    def agent(self, parties: Parties, at: datetime) -> Agent:
        """Return the agent of a call that is on the line already and came at the time ``at``."""
        plan = self._of(parties)
        if isinstance(plan.when_closed, AnswerWith) and not (parties.outbound or plan.is_open(at)):
            # The called number's hours apply, whichever agent answers.
            plan = replace(self.named[plan.when_closed.agent], hours=plan.hours)
        return plan.filled(parties, at)

    def plans(self) -> dict[str, AgentPlan]:
        """Return all agents, by name."""
        return {"default": self.default, **self.numbers, **self.named}

    def _of(self, parties: Parties) -> AgentPlan:
        return self.numbers.get(parties.called, self.default)
