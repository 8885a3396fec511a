"""How often an agent left a call and came back. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Absences:
    """How often the agent left a call and came back: from ``transfers`` that failed, and from ``sendings`` of keys.
    ``back``: it is coming back from one of them now."""

    transfers: int = 0
    sendings: int = 0
    back: bool = False


NEVER_AWAY = Absences()
