"""The clock of a simulated call, and what is to happen when."""

from __future__ import annotations

import math
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Agenda:
    """``now``: the time, in seconds. Nothing runs by itself: `run_until` lets the time pass."""

    def __init__(self) -> None:
        self.now = 100.0
        self.next_at = math.inf
        self._entries: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._count = 0  # keeps entries of the same time in their order

    def at(self, when: float, do: Callable[..., None], *what: Any) -> None:
        """Call ``do`` at that time, or next if it is past."""
        self._count += 1
        heappush(self._entries, (when, self._count, do, what))
        self.next_at = self._entries[0][0]

    def after(self, seconds: float, do: Callable[..., None], *what: Any) -> None:
        """Call ``do`` after so many seconds."""
        self.at(self.now + seconds, do, *what)

    def run_until(self, end: float) -> None:
        """Let the time pass."""
        entries = self._entries
        while entries and entries[0][0] <= end:
            when, _, do, what = heappop(entries)
            self.next_at = entries[0][0] if entries else math.inf
            self.now = max(self.now, when)
            do(*what)
        self.next_at = entries[0][0] if entries else math.inf
        self.now = max(self.now, end)
