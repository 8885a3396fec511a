"""Conversations with a model that lives: one that thinks before it answers, and one that is far away."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from callgate.core.units import SECONDS
from support.fake_openai import AT_ONCE, NEVER, WHEN_IDLE, Away, FakeOpenAI, Habits, Probes, Thoughts

from . import hearing
from .figures import OPENING, VOICE_DETECTION, Figures, Own, figures_of
from .place import (
    LONGEST_CALL,
    REPLY_WITHIN,
    Call,
    Tls,
    in_own_place,
    lateness,
    left_open,
    open_things,
    place,
)
from .runner import proven, run_all
from .talk import Talk

THINKS = (0.8 * SECONDS, 2.2 * SECONDS)  # before each response
USUAL_QUESTIONS = 3
FAR_QUESTIONS = 1
EXCHANGES = 3  # with the model before its greeting: the upgrade, the configuration, and the request
EACH_QUESTION = 10 * SECONDS  # at most, with its answer
LATE_PROBES = (0.6 * SECONDS, 0.9 * SECONDS)


def _late(seed: object, *, only_when_idle: bool = False) -> Probes:
    def after(number: int) -> float:
        return random.Random(repr((seed, number))).uniform(*LATE_PROBES)

    return Probes(after, only_when_idle)


# How a probe is answered: functions of a seed.
PROBES: Final[dict[str, Callable[[object], Probes]]] = {
    "at once": lambda seed: AT_ONCE,
    "after 0.6 to 0.9 s": _late,
    "when idle": lambda seed: WHEN_IDLE,
    "when idle, after 0.6 to 0.9 s": partial(_late, only_when_idle=True),
    "never": lambda seed: NEVER,
}


@dataclass(frozen=True, slots=True)
class Spoken:
    """The result of one conversation. ``said_goodbye``: it ended with the agent's goodbye, heard to the end.
    ``in_time``: the model answers so soon that nobody needs to be asked for a moment. ``late`` is this process's worst
    delay, in seconds."""

    setting: str
    figures: Figures
    said_goodbye: bool
    in_time: bool
    soft: bool
    problems: tuple[str, ...]
    late: float

    @property
    def is_good(self) -> bool:
        """Whether neither the caller nor the operator has cause for complaint."""
        figures = self.figures
        clips = figures.clips if self.in_time else figures.over_caller
        return self.said_goodbye and not (clips or figures.given_up or figures.lost or self.problems)


@dataclass(frozen=True, slots=True)
class Conversations:
    """The results of all conversations. ``repeated``: how many were held again."""

    spoken: tuple[Spoken, ...]
    repeated: int
    left: tuple[str, ...]


async def usual(
    tls: Tls,
    count: int,
    at_once: int,
    seed: int,
    tell: Callable[[object], None],
    questions: int = USUAL_QUESTIONS,
) -> Conversations:
    """Hold ``count`` usual conversations for each way to answer a probe, with a model that thinks."""
    jobs = []
    for setting, probes in PROBES.items():
        for number in range(count):
            own = (seed, number)
            thoughts = Thoughts(*THINKS, own)
            habits = Habits.thinking(thoughts, probes(own))
            jobs.append(partial(_spoken, tls, setting, Talk(own, questions), habits, thoughts))
    return await _hold(tls, jobs, at_once, tell)


async def far(
    tls: Tls, count: int, at_once: int, seed: int, away: float, tell: Callable[[object], None]
) -> Conversations:
    """Hold ``count`` short conversations with a model that is so many seconds away, there and back again."""
    habits = Habits(Away(sent=away, received=away))
    jobs = [
        partial(_spoken, tls, f"{away:g} s away", Talk((seed, number), FAR_QUESTIONS), habits)
        for number in range(count)
    ]
    return await _hold(tls, jobs, at_once, tell)


async def _hold(
    tls: Tls, jobs: Sequence[Callable[[], Awaitable[Spoken]]], at_once: int, tell: Callable[[object], None]
) -> Conversations:
    await in_own_place(_spoken(tls, "", Talk((0,), 0), Habits()))  # it opens what stays open for the whole run
    before = open_things()
    done = await run_all([partial(proven, job) for job in jobs], at_once, tell)
    return Conversations(
        tuple(spoken for spoken, _ in done), sum(tries > 1 for _, tries in done), await left_open(before)
    )


async def _spoken(tls: Tls, setting: str, talk: Talk, habits: Habits, thoughts: Thoughts | None = None) -> Spoken:
    fake = FakeOpenAI(talk.script, habits=habits)
    trip = habits.away.sent + habits.away.received
    longest = LONGEST_CALL + len(talk.questions) * (EACH_QUESTION + 2 * trip)
    async with lateness() as late, place(tls, fake) as here:
        call = await here.call(*talk.steps, reply_within=REPLY_WITHIN + EXCHANGES * trip, max_seconds=longest)
    figures = figures_of(call, fake, talk.said_by_agent, _own(talk, trip, thoughts), late=trip)
    problems = (*call.left, *fake.violations)
    return Spoken(setting, figures, _said_goodbye(call, talk), trip == 0, talk.soft, problems, late())


def _own(talk: Talk, trip: float, thoughts: Thoughts | None) -> Own:
    """Return the model's own latency: the way to it and back, and its thoughts."""

    def own(name: str) -> float:
        if not name:
            return trip
        thinks = thoughts.whole(talk.response_to(name)) if thoughts is not None else 0.0
        return thinks + (EXCHANGES * trip if name == OPENING else VOICE_DETECTION + trip)

    return own


def _said_goodbye(call: Call, talk: Talk) -> bool:
    return call.report.ended == "the app hung up" and any(hearing.ends_in(talk.goodbye, call.report.heard))
