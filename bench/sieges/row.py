"""The result of one attack, and how it is judged. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

ADDED_TIMES, ADDED_MS = 3.0, 20.0  # what an attack may add to the p99 of live calls: a multiple of it, or ms
# How much of the memory that an attack took need not be freed afterwards, in MB. nginx's allocator keeps freed memory
# for later connections, up to the most that existed at one time, so this memory is bounded but not given back.
BACKEND_KEEPS, NGINX_KEEPS = 16.0, 100.0
GENERATOR_LATE = 10.0  # ms, p99: above that, the delays may be caused by the generator …
OTHERS_BUSY = 0.5  # cores used by unrelated processes: above that, by them


@dataclass(frozen=True, slots=True)
class Memory:
    """Memory in MB: before the attack, its maximum during the attack, and after it."""

    before: float
    most: float
    after: float

    def is_back(self, keeps: float) -> bool:
        """Whether all but ``keeps`` MB of what the attack took was freed."""
        return self.after <= self.before + keeps

    def __str__(self) -> str:
        return f"{self.before:.0f} {self.most:.0f} {self.after:.0f}"


@dataclass(frozen=True, slots=True)
class Callers:
    """Counts of real callers: placed, served from the webhook to the last callback, and served after a wait; and
    why the others were not served."""

    placed: int = 0
    served: int = 0
    waited: int = 0
    why_not: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        why = ", ".join(f"{count} {why}" for why, count in self.why_not.items())
        return (
            f"{self.served}/{self.placed}"
            + (f" ({self.waited} waited)" if self.waited else "")
            + (f": {why}" if why else "")
        )


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one attack. Delays are in ms. ``lost`` counts frames of live calls, in either direction, that were
    lost or wrong. ``sessions`` and ``rest`` count the model sessions and the requests to Twilio's REST API that the
    attack caused."""

    attack: str
    same_address: bool
    seconds: float
    tried: int
    unit: str
    got: Mapping[str, int]
    told: tuple[str, ...]
    lost: int
    problems: tuple[str, ...]  # calls that ended, and messages that Twilio would not accept
    quiet_p99: float
    p99: float
    longest: float
    callers: Callers
    after: Callers  # placed after the attack
    sessions: int
    sessions_allowed: int
    rest: int
    rest_allowed: int
    backend: Memory
    nginx: Memory
    tracebacks: tuple[str, ...]  # the last line of each
    errors: tuple[str, ...]  # lines of the backend's log at level ERROR and above
    alerts: tuple[str, ...]  # lines of nginx's error log at level crit and above
    generator_late: float  # ms, p99
    others: float  # cores used by unrelated processes
    trouble: str = ""  # why the attack itself did not work

    @property
    def added(self) -> float:
        """How much the attack added to the p99, in ms."""
        return self.p99 - self.quiet_p99

    @property
    def may_add(self) -> float:
        """How much it may add, in ms."""
        return max(ADDED_TIMES * self.quiet_p99, ADDED_MS)

    @property
    def failures(self) -> tuple[str, ...]:
        """The bounds that were exceeded."""
        return tuple(self._failures())

    def _failures(self) -> Iterator[str]:
        if self.trouble:
            yield f"the attack failed: {self.trouble}"
        if self.lost:
            yield f"{self.lost} frames lost"
        if self.problems:
            yield f"{len(self.problems)} × {self.problems[0]}"
        if self.added > self.may_add:
            yield f"p99 {self.added:+.0f} ms"
        # Callers who share an attacker's address share its limits during the attack.
        if not self.same_address and self.callers.served < self.callers.placed:
            yield f"{self.callers.placed - self.callers.served} of {self.callers.placed} callers turned away"
        if self.after.served < self.after.placed:
            yield f"{self.after.placed - self.after.served} of {self.after.placed} callers turned away afterwards"
        if self.told:
            yield f"told {', '.join(self.told)}"
        if self.sessions > self.sessions_allowed:
            yield f"{self.sessions} model sessions"
        if self.rest > self.rest_allowed:
            yield f"{self.rest} requests to Twilio"
        for whose, memory, keeps in (
            ("the backend's", self.backend, BACKEND_KEEPS),
            ("nginx's", self.nginx, NGINX_KEEPS),
        ):
            if not memory.is_back(keeps):
                yield f"{memory.after - memory.before:.0f} MB of {whose} memory not back"
        if self.tracebacks:
            yield f"{len(self.tracebacks)} tracebacks"

    @property
    def notes(self) -> tuple[str, ...]:
        """Remarks to read with the verdict."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self.generator_late > GENERATOR_LATE:
            yield f"the generator itself was late by {self.generator_late:.0f} ms"
        if self.others > OTHERS_BUSY:
            yield f"unrelated processes used {self.others:.1f} cores"
        if self.errors:
            yield f"{len(self.errors)} × ERROR in the backend's log"
        if self.alerts:
            yield f"{len(self.alerts)} × crit in nginx's log"

    @property
    def in_doubt(self) -> bool:
        """Whether all failures are matters of time, which a disturbed machine may explain."""
        disturbed = self.generator_late > GENERATOR_LATE or self.others > OTHERS_BUSY
        return disturbed and all(each.startswith("p99") or "turned away" in each for each in self.failures)

    @property
    def is_good(self) -> bool:
        """Whether every bound was kept."""
        return not self.failures
