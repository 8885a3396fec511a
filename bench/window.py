"""What was seen of some calls in some seconds. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

OVERDUE = 0.020  # seconds: what takes longer is heard
OVERDUE_MS = 1e3 * OVERDUE
TOO_BUSY = 0.9  # of the generator's core: what is measured then may be the generator
TOO_LATE = 5.0  # ms, p99, that the generator's messages were late


@dataclass(frozen=True, slots=True)
class Spread:
    """Of many delays: how many, and where they lie, in ms."""

    count: int
    p50: float = math.nan
    p99: float = math.nan
    most: float = math.nan

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Spread:
        """Of delays in seconds, in any order."""
        if not seconds:
            return cls(0)
        ordered = sorted(seconds)
        p50, p99 = (1e3 * ordered[math.ceil(share * len(ordered)) - 1] for share in (0.5, 0.99))
        return cls(len(ordered), p50, p99, 1e3 * ordered[-1])

    def __str__(self) -> str:
        return f"p50 {self.p50:.2f} p99 {self.p99:.2f}" if self.count else "none"


@dataclass(frozen=True, slots=True)
class Window:
    """What was seen."""

    calls: int
    seconds: float
    cpu: float  # ms of the relay's CPU time for each second of each call
    cpu_beside: float  # the same, of nginx where there is one
    busy: float  # share of the relay's core
    to_model: Spread
    to_caller: Spread
    clear: Spread  # speech_started -> clear
    lost: int  # pieces of audio that did not arrive, in either direction
    repeated: int  # that arrived again
    crossed: int  # at another call
    corrupt: int  # not as they were sent
    stale: int  # after the clear behind which they must not
    joined: int  # pieces that were put together with others, which is fine
    problems: tuple[str, ...]  # calls that ended, and the like
    generator_busy: float  # share of its core
    generator_late: float  # ms, p99

    @property
    def mixed(self) -> int:
        """How many pieces arrived that should not have, or not so, or not there."""
        return self.repeated + self.crossed + self.corrupt + self.stale

    @property
    def p99(self) -> float:
        """Of the worse hop, in ms."""
        return max(self.to_model.p99, self.to_caller.p99)

    @property
    def longest(self) -> float:
        """The longest delay, in ms: of what arrived, and of what is still on its way."""
        return max(self.to_model.most, self.to_caller.most)

    @property
    def whole(self) -> bool:
        """Nothing lost, nothing mixed up, no call ended."""
        return not (self.lost or self.mixed or self.problems)

    @property
    def good(self) -> bool:
        """Whether callers would not notice: all is whole, and in time."""
        return self.whole and self.p99 < OVERDUE_MS

    @property
    def generator_bound(self) -> bool:
        """Whether the generator had no time left."""
        return self.generator_busy > TOO_BUSY

    @property
    def doubt(self) -> str:
        """Why this may say more of the generator, or of the machine, than of the relay."""
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
