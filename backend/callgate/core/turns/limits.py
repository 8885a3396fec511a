"""How long a call may last, and how long it may be silent. Pure; times are seconds on one clock."""

from __future__ import annotations

from enum import Enum

from callgate.core.units import SECONDS

QUESTIONS = 2  # how often the caller is asked whether they are still there, before the agent says goodbye
WARNING = 60 * SECONDS  # how long before the end of the longest call the model is warned


class Step(Enum):
    """What the model is told and asked to say."""

    ASK = "[The caller has been silent for a while. Ask, in a few words, whether they are still there.]"
    GIVE_UP = (
        "[The caller has been silent for long and did not answer. Say goodbye in a few words; the line then closes.]"
    )
    WARN = "[This call must end in about a minute. Bring the conversation to a close in good time, and say so.]"
    TIME_UP = "[The longest time for a call is reached. Say so, say goodbye in a few words; the line then closes.]"

    @property
    def ends_call(self) -> bool:
        """Whether the agent's next words are its last."""
        return self in (Step.GIVE_UP, Step.TIME_UP)


class Limits:
    """The limits of one call. ``idle``: the silence after which the caller is asked; ``longest``: of the whole call; 0:
    no limit. ``began``: when the call began, which may have had earlier streams; None: now."""

    def __init__(self, idle: float, longest: float, now: float, began: float | None = None) -> None:
        began = now if began is None else began
        self._idle = idle
        self._questions = 0
        self._asked_at = now
        self._warn_at = began + max(longest - WARNING, longest / 2) if longest else None
        self._end_at = began + longest if longest else None

    def caller_spoke(self) -> None:
        """The caller is there."""
        self._questions = 0

    def step(self, quiet_since: float | None, now: float) -> Step | None:
        """Return the step that is due, if any. It then counts as taken."""
        if self._end_at is not None and now >= self._end_at:
            self._end_at = self._warn_at = None
            self._idle = 0.0
            return Step.TIME_UP
        if self._warn_at is not None and now >= self._warn_at:
            self._warn_at = None
            return Step.WARN
        if not self._idle or quiet_since is None or now < max(quiet_since, self._asked_at) + self._idle:
            return None
        self._asked_at = now
        self._questions += 1
        if self._questions <= QUESTIONS:
            return Step.ASK
        self._idle = 0.0
        return Step.GIVE_UP
