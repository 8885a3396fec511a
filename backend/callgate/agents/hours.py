"""Opening hours. Pure: the time is passed in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

WEEKDAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_SPAN: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)")


@dataclass(frozen=True, slots=True)
class Span:
    """A part of a day, in local time, without ``end`` itself. An ``end`` not after ``start`` is on the next day."""

    start: time
    end: time

    @classmethod
    def parse(cls, text: str) -> Span:
        """Read ``09:00-17:30``; ``24:00`` is midnight. Raises `ValueError`."""
        if (found := _SPAN.fullmatch(text)) is None:
            raise ValueError(f"{text!r} is not a span of time: write it as 09:00-17:30")
        from_hour, from_minute, to_hour, to_minute = (int(part or 0) for part in found.groups())
        return cls(time(from_hour, from_minute), time(to_hour, to_minute))

    @property
    def passes_midnight(self) -> bool:
        """Whether the span ends on the next day."""
        return self.end <= self.start


@dataclass(frozen=True, slots=True)
class Hours:
    """Opening hours. ``spans``: by weekday, 0 for Monday; a day without spans is closed.

    ``closed_on``: dates on which no span begins.
    """

    time_zone: ZoneInfo
    spans: Mapping[int, tuple[Span, ...]] = field(default_factory=lambda: MappingProxyType({}))
    closed_on: frozenset[date] = frozenset()

    def is_open(self, at: datetime) -> bool:
        """Whether it is open at the time ``at``, which is timezone-aware."""
        local = at.astimezone(self.time_zone)
        today, now = local.date(), local.time()
        if any(span.start <= now and (span.passes_midnight or now < span.end) for span in self._on(today)):
            return True
        yesterday = today - timedelta(days=1)
        return any(span.passes_midnight and now < span.end for span in self._on(yesterday))

    def _on(self, day: date) -> tuple[Span, ...]:
        return () if day in self.closed_on else self.spans.get(day.weekday(), ())
