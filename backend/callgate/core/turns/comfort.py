"""A short clip that tells a waiting caller that the agent will go on. Pure; times are seconds on one clock.

The service's own clip is played after a silence; the silence before each further one is longer.
"""

from __future__ import annotations

from callgate.core.units import SECONDS

from .liveness import PAUSE

COMFORT_AFTER = 1.3 * SECONDS  # of silence
SILENCES = (COMFORT_AFTER, COMFORT_AFTER, 2 * COMFORT_AFTER, 4 * COMFORT_AFTER, 10 * SECONDS)  # before each


class Comfort:
    """Decides when one call's clips are played."""

    def __init__(self, now: float) -> None:
        self._since = now  # when the caller began to wait
        self._at_once = False
        self._in_a_row = 0  # clips since either side last spoke
        self._played = 0

    def waits_from(self, now: float) -> None:
        """The caller waits for the agent from now on."""
        self._since = now

    def is_due_at_once(self, now: float) -> None:
        """The agent was lost, perhaps in the middle of a sentence: the next clip is due without a silence first."""
        self._since, self._at_once, self._in_a_row = now, True, 0

    def spoken(self) -> None:
        """One of the two has spoken: what follows is a new silence."""
        self._in_a_row = 0

    def due_at(self, agent_until: float, caller_until: float) -> float:
        """When the next clip is to be played. ``agent_until``: when the audio sent so far has been played.
        ``caller_until``: when the caller was last loud."""
        if self._at_once:
            return max(agent_until, caller_until + PAUSE, self._since)
        return max(agent_until, caller_until, self._since) + SILENCES[min(self._in_a_row, len(SILENCES) - 1)]

    def played(self) -> str:
        """A clip is played. Return its name, as if it were one of the model's items."""
        self._in_a_row += 0 if self._at_once else 1
        self._at_once = False
        self._played += 1
        return f"one_moment_{self._played}"
