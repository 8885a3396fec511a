"""What OpenAI's documentation leaves open, or what differs from server to server. None of it may matter to a call."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from callgate.peers.linecheck.realtime.scripted import Manner, SpeechPace, always

#: Seconds, or a function from a number (of a response, of a probe; from 0) to seconds.
Seconds: TypeAlias = float | Callable[[int], float]


@dataclass(frozen=True, slots=True)
class Away:
    """How far away the server is: each event that it sends, and each that it receives, is late by so many seconds.

    Events keep their order, and many may be under way at once. The upgrade is late by both. `Slow` changes this in the
    middle of a session.
    """

    sent: float = 0.0
    received: float = 0.0


@dataclass(frozen=True, slots=True)
class Probes:
    """How a ``session.update`` that changes nothing is answered: ``after`` so many seconds; if ``only_when_idle``, not
    while a response is in progress; or not at all, unless it is ``ever`` answered."""

    after: Seconds = 0.0
    only_when_idle: bool = False
    ever: bool = True


AT_ONCE: Final = Probes()
WHEN_IDLE: Final = Probes(only_when_idle=True)
NEVER: Final = Probes(ever=False)


@dataclass(frozen=True, slots=True)
class Thoughts:
    """How long a model thinks before each response: between ``least`` and ``most`` seconds in all, at random. Part of
    that passes before ``response.created``, the rest before the first output."""

    least: float
    most: float
    seed: object = 0

    def before_created(self, number: int) -> float:
        """Return the first part, for this response of the session."""
        whole, share = self._thought(number)
        return whole * share

    def before_speaking(self, number: int) -> float:
        """Return the second part."""
        whole, share = self._thought(number)
        return whole * (1 - share)

    def whole(self, number: int) -> float:
        """Return both parts together."""
        return self._thought(number)[0]

    def _thought(self, number: int) -> tuple[float, float]:
        chance = random.Random(repr((self.seed, number)))
        return chance.uniform(self.least, self.most), chance.random()


@dataclass(frozen=True, slots=True)
class Habits:
    """The habits of a server.

    ``away``: how far away it is. ``thinks``: the seconds between the end of the caller's turn, or the client's request,
    and ``response.created``; ``then_thinks``: those between that and the first output. ``answers``: whether it creates
    a response by itself after the utterance of this number (from 0), as the session asks it to; one that leaves that
    out now and then is faulty. ``names_events``: whether an ``error`` event names the client's event that it is about.
    ``refuses_late``: whether the error that a response is active already arrives behind the end of that response.
    """

    away: Away = Away()
    thinks: Seconds = 0.0
    then_thinks: Seconds = 0.0
    answers: Callable[[int], bool] = always
    probes: Probes = AT_ONCE
    names_events: bool = True
    refuses_late: bool = False

    @classmethod
    def thinking(cls, thoughts: Thoughts, probes: Probes = AT_ONCE) -> Habits:
        """Return the habits of a model that thinks before it speaks."""
        return cls(thinks=thoughts.before_created, then_thinks=thoughts.before_speaking, probes=probes)

    def manner(self, pace: SpeechPace) -> Manner:
        """Return the part of it that the protocol core carries out."""
        return Manner(pace, of(self.thinks), of(self.then_thinks), self.answers)


def of(seconds: Seconds) -> Callable[[int], float]:
    """Return a function from a number to seconds."""
    return seconds if callable(seconds) else lambda number: seconds
