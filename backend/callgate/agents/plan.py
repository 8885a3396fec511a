"""The agents of one file, as values: whom a call is given to, and what that agent is told. Pure."""

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
    """Out of hours another agent answers. ``agent``: its name."""

    agent: str


@dataclass(frozen=True, slots=True)
class SayClosed:
    """Out of hours the caller is told so, and the call ends. ``sentence`` may hold variables."""

    sentence: str


@dataclass(frozen=True, slots=True)
class AgentPlan:
    """An agent, before it is known who calls. ``agent``: its texts hold variables. ``hours``: when it answers; None:
    always. ``when_closed``: what happens at other times; None: it answers all the same."""

    agent: Agent
    time_zone: ZoneInfo = UTC
    hours: Hours | None = None
    when_closed: AnswerWith | SayClosed | None = None

    def filled(self, parties: Parties, at: datetime) -> Agent:
        """The agent of one call."""
        agent, given = self.agent, self._values(parties, at)
        return replace(
            agent,
            instructions=fill(agent.instructions, given),
            greeting=fill(agent.greeting, given),
            consent=fill(agent.consent, given) if agent.consent else None,
        )

    def closed(self, sentence: str, parties: Parties, at: datetime) -> Closed:
        """What a caller out of hours is told."""
        return Closed(fill(sentence, self._values(parties, at)), self.agent.language)

    def is_open(self, at: datetime) -> bool:
        """Whether it is a time at which the agent answers."""
        return self.hours is None or self.hours.is_open(at)

    def _values(self, parties: Parties, at: datetime) -> dict[str, str]:
        return values(parties, at, self.time_zone, is_open=self.is_open(at))


@dataclass(frozen=True, slots=True)
class Closed:
    """Nobody answers now: ``sentence`` is said, in ``language`` where that is known, and the call ends."""

    sentence: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Agents:
    """All agents. ``numbers``: by the called number; any other number has ``default``. ``named``: those that answer
    for others. ``source``: the file; empty where the settings make the one agent. ``secrets``: for the log to mask."""

    default: AgentPlan
    numbers: Mapping[str, AgentPlan] = field(default_factory=lambda: MappingProxyType({}))
    named: Mapping[str, AgentPlan] = field(default_factory=lambda: MappingProxyType({}))
    source: str = ""
    secrets: frozenset[str] = field(default=frozenset(), repr=False)

    def answer(self, parties: Parties, at: datetime) -> Agent | Closed:
        """Who answers a call that comes at this moment, which knows its time zone."""
        plan = self._of(parties)
        if isinstance(plan.when_closed, SayClosed) and not (parties.outbound or plan.is_open(at)):
            return plan.closed(plan.when_closed.sentence, parties, at)
        return self.agent(parties, at)

    def agent(self, parties: Parties, at: datetime) -> Agent:
        """The agent of a call that is on the line already, and came at this moment."""
        plan = self._of(parties)
        if isinstance(plan.when_closed, AnswerWith) and not (parties.outbound or plan.is_open(at)):
            # What is open or closed is the number's, whoever answers.
            plan = replace(self.named[plan.when_closed.agent], hours=plan.hours)
        return plan.filled(parties, at)

    def plans(self) -> dict[str, AgentPlan]:
        """All of them, by what they are called."""
        return {"default": self.default, **self.numbers, **self.named}

    def _of(self, parties: Parties) -> AgentPlan:
        return self.numbers.get(parties.called, self.default)
