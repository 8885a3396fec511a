"""How a call ends. Pure; times are seconds on one clock.

Every `End` is made here, so this is the whole list of causes:

    caller_left     the caller hung up: Twilio stopped the stream
    stream_gone     Twilio's side of the stream is gone; Twilio then asks how to go on, and the call is resumed
    agent_leaves    the agent said goodbye (also when a limit was announced), put the caller through, or sends keys
    safety_net      nothing is left to try: the reason says what was tried
    service_stops   the process has to stop, after it has waited for its calls
    broken          an exception that nobody expected ended the session: a fault of ours

Nothing else ends a call.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from callgate.core.units import SECONDS

from .commands import End, NextStep, Outcome, PutThrough

PLAYED_DEADLINE = 3 * SECONDS  # for the last mark, after the audio before it should have been played
LAST_WORDS_DEADLINE = 20 * SECONDS  # for a goodbye that was asked for


@dataclass(frozen=True, slots=True)
class Farewell:
    """How the agent leaves once it has been heard to the end."""

    outcome: Outcome
    reason: str
    then: NextStep | None = None


GOODBYE: Final = Farewell(Outcome.GOODBYE, "the agent hung up")


class Ending:
    """The end of one call. ``is_leaving``: the agent has said its last word; the line closes when the caller has heard
    it. ``is_over``: nothing more is done. ``has_spoken``: it was heard in the present response."""

    def __init__(self) -> None:
        self.farewell: Farewell | None = None
        self.is_leaving = False
        self.is_over = False
        self._is_limit = False  # what the agent says next is its last word, as a limit is reached
        self._is_asked = False  # it was asked for its goodbye
        self.has_spoken = False
        self._until: float | None = None

    # The agent's last word.

    def wants_last_word(self, now: float) -> None:
        """A limit is reached, which the agent has been told: what it says next is its last word."""
        self._is_limit = True
        self._until = now + LAST_WORDS_DEADLINE

    def response_begins(self) -> None:
        """The agent begins to speak."""
        self.has_spoken = False
        if self._is_limit:
            self.farewell = self.farewell or GOODBYE

    def spoke(self) -> None:
        """The agent has been heard in this response."""
        self.has_spoken = True

    def leaves(self, farewell: Farewell) -> None:
        """The agent has called a tool with which it leaves."""
        self.farewell = farewell

    def is_cut_short(self) -> None:
        """The caller has pressed a key with which the agent leaves, whatever it is saying."""
        self.has_spoken = False

    def must_ask(self, now: float) -> bool:
        """The response in which the agent hung up has ended. Return whether to ask for its goodbye first: it has hung
        up without a word, so perhaps the goodbye is to come in the next response."""
        if self.has_spoken or self._is_asked or self._is_limit or self.farewell is not GOODBYE:
            return False
        self._is_asked = True
        self._until = now + LAST_WORDS_DEADLINE
        return True

    @property
    def can_be_interrupted(self) -> bool:
        """Whether the caller may keep the agent: nothing of its last word was heard."""
        is_unheard = self.farewell is GOODBYE and not (self.has_spoken or self.is_leaving or self._is_limit)
        return self.farewell is None or is_unheard

    @property
    def is_said(self) -> bool:
        """Whether the agent has hung up, and was heard in the response in which it did."""
        return self.farewell is not None and self.has_spoken

    def stays(self) -> None:
        """The caller went on speaking before the agent's goodbye began."""
        self.farewell = None
        self._is_asked = False
        self._until = None

    def leave(self, now: float, heard_at: float) -> None:
        """The agent has said its last word, which will have been played at ``heard_at``."""
        self.is_leaving = True
        self._until = max(now, heard_at) + PLAYED_DEADLINE

    def due_at(self) -> float | None:
        """When the agent leaves at the latest."""
        return self._until

    # The causes.

    def agent_leaves(self, how: str) -> list[End]:
        """The agent leaves, in the way it chose. ``how``: for the log."""
        farewell = self.farewell or GOODBYE
        then = farewell.then
        if isinstance(then, PutThrough):
            then = replace(then, announced=self.has_spoken)
        return self._end(farewell.outcome, f"{farewell.reason}{how}", then)

    def caller_left(self) -> list[End]:
        """The caller hung up."""
        return self._end(Outcome.CALLER_HUNG_UP, "Twilio stopped the stream")

    def stream_gone(self, reason: str) -> list[End]:
        """Twilio's side of the stream is gone."""
        return self._end(Outcome.STREAM_LOST, reason)

    def safety_net(self, tried: str) -> list[End]:
        """Nothing is left to try. ``tried``: what was."""
        return self._end(Outcome.FAILED, tried)

    def service_stops(self) -> list[End]:
        """The process has to stop now."""
        return self._end(Outcome.SHUT_DOWN, "the service is stopping")

    def _end(self, outcome: Outcome, reason: str, then: NextStep | None = None) -> list[End]:
        if self.is_over:
            return []
        self.is_over = True
        return [End(outcome, reason, then)]


def broken() -> End:
    """The session stopped before the call had ended, because of a fault of ours."""
    return End(Outcome.FAILED, "the session stopped before the call had ended")
