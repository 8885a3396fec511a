"""The figures of some calls over some seconds. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

OVERDUE = 0.020  # seconds: a longer delay is audible
OVERDUE_MS = 1e3 * OVERDUE
TOO_BUSY = 0.9  # of the generator's core: above that, the figures may reflect the generator
TOO_LATE = 5.0  # ms: p99 of the generator's own lateness


@dataclass(frozen=True, slots=True)
class Spread:
    """Statistics of many delays: their number, and percentiles in ms."""

    count: int
    p50: float = math.nan
    p99: float = math.nan
    most: float = math.nan

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Summarize delays in seconds, in any order."""
        if not seconds:
            return cls(0)
        ordered = sorted(seconds)
        p50, p99 = (1e3 * ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
        return cls(len(ordered), p50, p99, 1e3 * ordered[-1])

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f} p99 {self.p99:.2f}" if self.count else "none"


@dataclass(frozen=True, slots=True)
class Window:
    """The figures of one measurement."""

    calls: int
    seconds: float
    cpu: float  # ms of the relay's CPU time per call-second
    cpu_beside: float  # the same, of nginx if there is one
    busy: float  # used share of the relay's core
    to_model: Spread
    to_caller: Spread
    clear: Spread  # speech_started -> clear
    lost: int  # pieces of audio that did not arrive, in either direction
    repeated: int  # pieces that arrived again
    crossed: int  # pieces that arrived at another call
    corrupt: int  # pieces that did not arrive as they were sent
    stale: int  # pieces that arrived after the clear that dropped them
    joined: int  # pieces that arrived merged with others, which is fine
    problems: tuple[str, ...]  # ended calls and similar problems
    generator_busy: float  # used share of the generator's core
    generator_late: float  # ms, p99

    @property
    def mixed(self) -> int:
        """The number of pieces that arrived repeated, corrupted, too late or at the wrong call."""
        return self.repeated + self.crossed + self.corrupt + self.stale

    @property
    def p99(self) -> float:
        """The p99 of the worse hop, in ms."""
        return max(self.to_model.p99, self.to_caller.p99)

    @property
    def longest(self) -> float:
        """The longest delay, in ms, including pieces still on their way."""
        return max(self.to_model.most, self.to_caller.most)

    @property
    def whole(self) -> bool:
        """Whether nothing was lost or mixed up, and no call ended."""
        return not (self.lost or self.mixed or self.problems)

    @property
    def good(self) -> bool:
        """Whether callers would notice nothing: all audio is whole and in time."""
        return self.whole and self.p99 < OVERDUE_MS

    @property
    def generator_bound(self) -> bool:
        """Whether the generator had no time left."""
        return self.generator_busy > TOO_BUSY

    @property
    def doubt(self) -> str:
        """Why the figures may describe the generator or the machine rather than the relay, or an empty string."""
        if self.generator_bound:
            return f"generator-bound: {self.generator_busy:.0%} of its core"
        if self.generator_late > TOO_LATE:
            return f"disturbed: the generator's messages were late by {self.generator_late:.0f} ms"
        return ""

    def __str__(self) -> str:
        told = [
            f"{self.calls} calls",
            f"{self.cpu:.2f} ms/call-s" + (f" + nginx {self.cpu_beside:.2f}" if self.cpu_beside else ""),
            f"to model {self.to_model}",
            f"to caller {self.to_caller}",
        ]
        if self.clear.count:
            told.append(f"clear {self.clear} of {self.clear.count}")
        if not self.whole:
            kinds = ("lost", "repeated", "crossed", "corrupt", "stale")
            told += [f"{getattr(self, kind)} {kind.upper()}" for kind in kinds if getattr(self, kind)]
            told += self.problems[:2]
        if self.joined:
            told.append(f"{self.joined} joined")
        told.append(self.doubt or f"generator {self.generator_busy:.0%}")
        return ", ".join(told)
