"""What was seen of one attack, and how it is judged. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

ADDED_TIMES, ADDED_MS = 3.0, 20.0  # what an attack may add to the p99 of live calls: so many times it, or so much
# What need not be back of the memory that an attack took, in MB. nginx's allocator keeps what was freed for the next
# connections, from the most that there were at one time: so it is bounded, and not given back.
BACKEND_KEEPS, NGINX_KEEPS = 16.0, 100.0
GENERATOR_LATE = 10.0  # ms, p99: above that the delays may be the generator's own …
OTHERS_BUSY = 0.5  # cores that are used by who has no part in this: … or theirs


@dataclass(frozen=True, slots=True)
class Memory:
    """In MB: before the attack, the most during it, and after it."""

    before: float
    most: float
    after: float

    def is_back(self, keeps: float) -> bool:
        """Whether what the attack took was given back, but for so much."""
        return self.after <= self.before + keeps

    def __str__(self) -> str:
        return f"{self.before:.0f} {self.most:.0f} {self.after:.0f}"


@dataclass(frozen=True, slots=True)
class Callers:
    """Real callers: how many were placed, how many served from the webhook to the last callback, how many of those had
    been asked to wait before; and why the others were not."""

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
    """One attack. Delays in ms. ``lost``: frames of live calls, in either direction, that did not come, or not as they
    should. ``sessions``: of the model's, which the attack caused; ``rest``: requests to Twilio's REST API."""

    attack: str
    same_address: bool
    seconds: float
    tried: int
    unit: str
    got: Mapping[str, int]
    told: tuple[str, ...]
    lost: int
    problems: tuple[str, ...]  # calls that ended, and what no Twilio would take
    quiet_p99: float
    p99: float
    longest: float
    callers: Callers
    after: Callers  # placed when it was over
    sessions: int
    sessions_allowed: int
    rest: int
    rest_allowed: int
    backend: Memory
    nginx: Memory
    tracebacks: tuple[str, ...]  # the last line of each
    errors: tuple[str, ...]  # of the backend's log, at level ERROR and above
    alerts: tuple[str, ...]  # of nginx's, at level crit and above
    generator_late: float  # ms, p99
    others: float  # cores that were used by who has no part in this
    trouble: str = ""  # why the attack was not what it should have been

    @property
    def added(self) -> float:
        """What the attack added to the p99, in ms."""
        return self.p99 - self.quiet_p99

    @property
    def may_add(self) -> float:
        """What it may add."""
        return max(ADDED_TIMES * self.quiet_p99, ADDED_MS)

    @property
    def failures(self) -> tuple[str, ...]:
        """What is not as promised."""
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
        # Who shares an address with an attacker shares its limits, while it attacks.
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
        """What must be known beside that."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        if self.generator_late > GENERATOR_LATE:
            yield f"the generator was late itself, by {self.generator_late:.0f} ms"
        if self.others > OTHERS_BUSY:
            yield f"others used {self.others:.1f} cores of the machine"
        if self.errors:
            yield f"{len(self.errors)} × ERROR in the log"
        if self.alerts:
            yield f"{len(self.alerts)} × crit in nginx's"

    @property
    def in_doubt(self) -> bool:
        """Whether nothing is amiss but what comes of a lack of time, and that may be the machine's."""
        disturbed = self.generator_late > GENERATOR_LATE or self.others > OTHERS_BUSY
        return disturbed and all(each.startswith("p99") or "turned away" in each for each in self.failures)

    @property
    def is_good(self) -> bool:
        """Whether all is as promised."""
        return not self.failures
