"""The agent of each call: chosen when the call comes in, and kept until the call is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from callgate.core.agent import Agent

from .book import AgentBook
from .parties import Parties
from .plan import Closed

CALLS_KEPT: Final = 2_000  # a bound, in case Twilio does not report that calls have ended


def now() -> datetime:
    """Return the current time, timezone-aware."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Assignment:
    """The agent of a call. ``parties``: None if they are not known. ``came_at``: when the call came, if that is known;
    otherwise when this process first served it."""

    agent: Agent
    parties: Parties | None
    came_at: datetime

    @property
    def parameters(self) -> dict[str, str]:
        """The stream parameters from which a process that does not know the call can find its agent."""
        return self.parties.as_parameters() if self.parties else {}


class Assigned:
    """The agents of this process's calls. ``has_second_model``: see `Agent`. ``clock``: returns the current time,
    timezone-aware."""

    def __init__(self, book: AgentBook, *, has_second_model: bool, clock: Callable[[], datetime] = now) -> None:
        self.book = book
        self._has_second_model = has_second_model
        self._clock = clock
        self._calls: dict[str, Assignment] = {}  # by CallSid

    def call_comes(self, params: Mapping[str, str]) -> Assignment | Closed:
        """Choose who answers a call that comes in or is placed. ``params``: those of its webhook."""
        if (known := self._calls.get(params["CallSid"])) is not None:  # Twilio repeats the webhook
            return known
        parties = Parties.of_webhook(params)
        came_at = self._clock()
        answer = self.book.answer(parties, came_at)
        return answer if isinstance(answer, Closed) else self._assign(params["CallSid"], answer, parties, came_at)

    def language(self, params: Mapping[str, str]) -> str | None:
        """Return the language of the agent that would answer such a call now, if it is known (BCP 47)."""
        return self.book.answer(Parties.of_webhook(params), self._clock()).language

    def known(self, call_sid: str) -> Assignment | None:
        """Return the assignment that this process made for the call, if any."""
        return self._calls.get(call_sid)

    def call_goes_on(self, call_sid: str, parties: Parties | None, came_at: datetime | None = None) -> Assignment:
        """Return the assignment of a call that is on the line already. If another process made it, choose the same
        agent again. ``came_at``: when the call came in; None: just now."""
        if (known := self._calls.get(call_sid)) is not None:
            return known
        came_at = came_at or self._clock()
        agent = self.book.agent(parties or Parties("", ""), came_at)
        return self._assign(call_sid, agent, parties, came_at)

    def lasted(self, call: Assignment) -> float:
        """Return the seconds since the call came."""
        return max((self._clock() - call.came_at).total_seconds(), 0.0)

    def call_ended(self, call_sid: str) -> None:
        """Forget a call that is over."""
        self._calls.pop(call_sid, None)

    def _assign(self, call_sid: str, agent: Agent, parties: Parties | None, came_at: datetime) -> Assignment:
        while len(self._calls) >= CALLS_KEPT:
            del self._calls[next(iter(self._calls))]
        assignment = Assignment(replace(agent, has_second_model=self._has_second_model), parties, came_at)
        self._calls[call_sid] = assignment
        return assignment
