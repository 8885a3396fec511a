"""Answers to probes: to a ``session.update`` that changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable

from .habits import AT_ONCE, Probes, of
from .seen import Event
from .withheld import Withheld

LONGEST = 300  # characters of a probe


class ProbeAnswers:
    """The answers of one session. ``is_idle``: tells whether no response is in progress."""

    def __init__(self, habit: Probes, is_idle: Callable[[], bool]) -> None:
        self._habit = habit
        self._number = 0
        self._withheld = Withheld(is_idle)

    def without_answer(self, frame: str | bytes, answers: list[Event], now: float) -> list[Event]:
        """Return what is sent at once of the answers to a client event. If it was a probe, its own answer may come
        later, or never."""
        if self._habit == AT_ONCE or not is_probe(frame):
            return answers
        for answer in answers:
            if answer["type"] == "session.updated" and self._habit.ever:
                due = now + of(self._habit.after)(self._number)
                self._withheld.add(answer, due=due, only_when_idle=self._habit.only_when_idle)
        self._number += 1
        return [answer for answer in answers if answer["type"] != "session.updated"]

    @property
    def deadline(self) -> float | None:
        """When the next answer is due."""
        return self._withheld.deadline

    def due(self, now: float) -> list[Event]:
        """Return the answers that are due."""
        return self._withheld.released_at(now)


def is_probe(frame: str | bytes) -> bool:
    """Whether this is a ``session.update`` that changes nothing."""
    if isinstance(frame, bytes) or len(frame) > LONGEST or "session.update" not in frame:
        return False
    try:
        event = json.loads(frame)
        return bool(event["type"] == "session.update" and set(event["session"]) == {"type"})
    except (ValueError, KeyError, TypeError):
        return False
