"""What follows when the model does not answer: another try, another session, and in the end the safety net. Pure; times
are seconds on one clock.

Every try that failed since the caller last heard the agent is a `strike`. The model is asked again: at the time that it
named, or soon. From the second strike on, another session is opened beside the failing one, at another server if there
is one. After `MOST_STRIKES` the call goes to the safety net, which is told what was tried; but
not while another session is being opened, or may yet speak.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from callgate.core.units import SECONDS

MOST_STRIKES = 6
LEAST_STRIKES, LONGEST_TROUBLE = 3, 40 * SECONDS  # or after so many, if they took so long
FORGOTTEN_AFTER = 120 * SECONDS  # without another one: in a call in which nobody speaks, they don't add up
WAITS = (0.1, 0.5, 1.0, 2.0, 2.0)  # before the next try after each strike, unless the model told another time
LONGEST_WAIT = 20 * SECONDS  # that a model may tell us to wait
REOPEN_AFTER = (0.0, 0.3, 1.0, 2.0)  # before each attempt to open a session
BESIDE_AFTER = 2  # strikes, from which on another session is opened beside a failing one
RIVAL_WITHIN = 8 * SECONDS  # for either of two sessions to speak


class Beside(Enum):
    """The session beside the one that serves the call."""

    NONE = "there is none"
    OPENING = "it is being opened"
    READY = "it is ready, and waits for a pause"
    RIVAL = "it was told everything, and goes on with the call if it speaks first"


@dataclass(frozen=True, slots=True)
class Retry:
    """Try again at ``at``. ``beside``: there is to be another session, too."""

    at: float
    beside: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Everything was tried. ``tried``: one line for the log."""

    tried: str


class Recovery:
    """One call's recovery from a model that fails or is doubtful."""

    def __init__(self) -> None:
        self.beside = Beside.NONE
        self._tried: list[str] = []  # since the caller last heard the agent
        self._tried_at = (0.0, 0.0)  # the first and the last time
        self._attempts = 0  # to open the session being opened
        self._rival_since = 0.0

    # What was tried.

    def strike(self, reason: str, now: float, retry_after: float | None = None) -> Retry | GiveUp:
        """A try failed. ``retry_after``: how long the model told us to wait, in seconds. While another session may
        speak, it is not the end."""
        first, last = self._tried_at
        if now - last > FORGOTTEN_AFTER:
            self._tried.clear()
        self._tried_at = first if self._tried else now, now
        self._tried.append(reason)
        takes_too_long = len(self._tried) >= LEAST_STRIKES and now - self._tried_at[0] > LONGEST_TROUBLE
        if self.is_exhausted or (takes_too_long and self.beside is Beside.NONE):
            return self.give_up()
        wait = WAITS[min(len(self._tried), len(WAITS)) - 1]
        if retry_after is not None:
            wait = max(wait, min(retry_after, LONGEST_WAIT))
        return Retry(now + wait, len(self._tried) >= BESIDE_AFTER)

    def give_up(self, reason: str | None = None) -> GiveUp:
        """There is nothing left to try. ``reason``: the last failure, if it was no strike."""
        if reason is not None:
            self._tried.append(reason)
        return GiveUp("; ".join(_counted(self._tried)))

    def answered(self) -> None:
        """The caller hears the agent."""
        self._tried.clear()

    @property
    def is_exhausted(self) -> bool:
        """Whether everything was tried."""
        return len(self._tried) >= MOST_STRIKES and self.beside is Beside.NONE

    @property
    def is_first_strike(self) -> bool:
        """Whether the last strike was the first one since the caller last heard the agent."""
        return len(self._tried) == 1

    @property
    def is_trying(self) -> bool:
        """Whether something failed since the caller last heard the agent."""
        return bool(self._tried)

    # Sessions.

    def not_opened(self) -> float:
        """A session could not be opened. Return how long to wait before the next attempt."""
        self._attempts += 1
        return REOPEN_AFTER[min(self._attempts, len(REOPEN_AFTER) - 1)]

    def serves(self) -> None:
        """A session serves the call, and there is none beside it."""
        self.beside = Beside.NONE
        self._attempts = 0

    def opens_beside(self) -> None:
        """Another session is being opened."""
        self.beside = Beside.OPENING

    def is_ready_beside(self) -> None:
        """The other session is ready, and waits for a pause."""
        self.beside = Beside.READY

    def is_rival(self, now: float) -> None:
        """The other session was told everything."""
        self.beside = Beside.RIVAL
        self._rival_since = now

    def none_beside(self) -> None:
        """There is no other session any more."""
        self.beside = Beside.NONE

    def rival_overdue_at(self) -> float | None:
        """When to stop waiting for either of two sessions to speak."""
        return self._rival_since + RIVAL_WITHIN if self.beside is Beside.RIVAL else None


def _counted(reasons: list[str]) -> list[str]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return [reason if count == 1 else f"{reason} ({count} times)" for reason, count in counts.items()]
