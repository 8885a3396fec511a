"""Events that are ready, but are sent later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .seen import Event


@dataclass(frozen=True, slots=True)
class _Withheld:
    event: Event
    behind: str | None
    due: float | None
    only_when_idle: bool


def _always() -> bool:
    return True


class Withheld:
    """The events that one session withholds. ``is_idle``: tells whether no response is in progress."""

    def __init__(self, is_idle: Callable[[], bool] = _always) -> None:
        self._is_idle = is_idle
        self._events: list[_Withheld] = []

    def add(
        self, event: Event, *, behind: str | None = None, due: float | None = None, only_when_idle: bool = False
    ) -> None:
        """Withhold an event until one of type ``behind`` has been sent (``"*"``: any) or it is ``due``, and in any case
        while a response is in progress if it may be sent ``only_when_idle``."""
        self._events.append(_Withheld(event, behind, due, only_when_idle))

    @property
    def deadline(self) -> float | None:
        """When the next one is due."""
        waits = [each.due for each in self._events if each.due is not None and self._may_come(each)]
        return min(waits, default=None)

    def released_by(self, sent: str) -> list[Event]:
        """Return what may be sent now, because an event of this type was sent."""
        return self._take([each for each in self._events if each.behind in (sent, "*")])

    def released_at(self, now: float) -> list[Event]:
        """Return what is due."""
        return self._take([e for e in self._events if e.due is not None and e.due <= now and self._may_come(e)])

    def _may_come(self, withheld: _Withheld) -> bool:
        return not withheld.only_when_idle or self._is_idle()

    def _take(self, released: list[_Withheld]) -> list[Event]:
        self._events = [each for each in self._events if each not in released]
        return [each.event for each in released]
