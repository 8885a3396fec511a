"""A word to a caller who waits for the agent: that it goes on. Pure; times are seconds of one clock.

A clip of the service's own is played after a silence; those that follow it leave the caller ever longer alone.
"""

from __future__ import annotations

from callgate.core.units import SECONDS

from .liveness import PAUSE

COMFORT_AFTER = 1.3 * SECONDS  # of silence
SILENCES = (COMFORT_AFTER, COMFORT_AFTER, 2 * COMFORT_AFTER, 4 * COMFORT_AFTER, 10 * SECONDS)  # before each


class Comfort:
    """One call's."""

    def __init__(self, now: float) -> None:
        self._since = now  # when the caller began to wait
        self._at_once = False
        self._in_a_row = 0  # since either side last spoke
        self._played = 0

    def waits_from(self, now: float) -> None:
        """The caller waits for the agent, from now on."""
        self._since = now

    def is_due_at_once(self, now: float) -> None:
        """The agent was lost, maybe in mid-sentence: the caller is told without waiting first."""
        self._since, self._at_once, self._in_a_row = now, True, 0

    def spoken(self) -> None:
        """One of the two has spoken, and what comes next is another silence."""
        self._in_a_row = 0

    def due_at(self, agent_until: float, caller_until: float) -> float:
        """When the next clip is to be played. The others: until when what was sent plays, and when the caller was last
        loud."""
        if self._at_once:
            return max(agent_until, caller_until + PAUSE, self._since)
        return max(agent_until, caller_until, self._since) + SILENCES[min(self._in_a_row, len(SILENCES) - 1)]

    def played(self) -> str:
        """A clip is played. Returns its name, as if it were an item of the model's."""
        self._in_a_row += 0 if self._at_once else 1
        self._at_once = False
        self._played += 1
        return f"one_moment_{self._played}"
