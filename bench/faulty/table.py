"""Calls whose model fails, or seems to, in one way at one point, and how they went on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

from callgate.core.units import SECONDS
from support.fake_openai import Change, Event, FakeOpenAI, Faults

from bench.errors import BenchError

from .figures import OPENING, VOICE_DETECTION, Figures, Own, figures_of
from .judge import Ending, judge
from .kinds import DEADLY, FATAL, KINDS, Trouble, trouble
from .place import LONGEST_CALL, REPLY_WITHIN, Tls, lateness, place
from .points import Point, points_of
from .runner import proven, run_all
from .scene import CAUSES, SHORT_CAUSES, TWO_EXCHANGES, Scene

DEAD_AIR_BOUND = 2 * SECONDS
EXCHANGES = 3  # with the model before it is heard, at most: in the opening


@dataclass(frozen=True, slots=True)
class Plan:
    """One call to be made. ``number``: different for each, and so are the words. ``soft``: the caller speaks softly.
    ``short``: a shorter script."""

    number: int
    point: Point
    kind: str
    trouble: Trouble
    soft: bool = False
    short: bool = False

    @property
    def causes(self) -> tuple[str, ...]:
        """What the silence before each turn follows."""
        return SHORT_CAUSES if self.short else CAUSES

    @property
    def own(self) -> Own:
        """The model's own latency."""
        late, waits = self.trouble.late, self.trouble.waits
        waits_after = self.causes[self.point.turn]

        def own(name: str) -> float:
            told = waits if name == waits_after else 0.0
            match name:
                case "":
                    return late
                case str() if name == OPENING:  # the upgrade, the configuration, and the greeting
                    return told + EXCHANGES * late
                case _:
                    return told + VOICE_DETECTION + late * (2 if name in TWO_EXCHANGES else 1)

        return own


@dataclass(frozen=True, slots=True)
class Cell:
    """The result of one call. ``left`` is what the call left behind; ``late`` is this process's worst delay during the
    call, in seconds."""

    point: Point
    kind: str
    struck: bool
    figures: Figures
    ending: Ending
    why: str
    left: tuple[str, ...]
    seconds: float
    late: float
    soft: bool = False
    tries: int = 1

    @property
    def ended_by_us(self) -> bool:
        """Whether it ended in the safety net although there was a model that lived."""
        return self.ending is Ending.SAFETY_NET and self.kind not in FATAL

    @property
    def is_good(self) -> bool:
        """Whether neither the caller nor the operator has cause for complaint."""
        figures = self.figures
        return (
            self.struck
            and figures.dead_air <= DEAD_AIR_BOUND
            and not (figures.lost or figures.over_caller or self.ended_by_us or self.left)
            and self.ending.is_designed
            and (not self.is_fatal or self.ending is Ending.SAFETY_NET)
        )

    @property
    def is_fatal(self) -> bool:
        """Whether no other session may be tried. A parked session that is lost does not belong to the call yet."""
        return self.kind in FATAL and self.point.turn > 0

    def as_json(self) -> dict[str, Any]:
        """Return the cell for JSON."""
        return {**asdict(self), "ending": self.ending.value, "good": self.is_good}


class CallsGoneWrong(BenchError):
    """The undisturbed call went wrong, so the others would prove nothing."""


async def undisturbed(tls: Tls) -> list[Point]:
    """Make a call without faults, and return the points at which one may strike. Raises `CallsGoneWrong`."""
    cell, fake = await _play(tls, Plan(0, Point(0, "", 0), "", Trouble()))
    if not replace(cell, struck=True).is_good or cell.ending is not Ending.UNHARMED:
        raise CallsGoneWrong(
            f"the call without a fault: {cell.ending.value}, {cell.why}, {cell.figures}, "
            f"left behind: {', '.join(cell.left) or 'nothing'}"
        )
    return points_of(fake.connections[0].sent)


def plans_of(cells: Sequence[tuple[Point, str]], points: Sequence[Point], *, short: bool = False) -> list[Plan]:
    """Return the plans of these calls. At every point, and of every kind, about half of the callers speak softly.
    ``points``: all points, in order."""
    return [
        Plan(number, point, kind, trouble(kind, point, points), _is_soft(point, kind, points), short)
        for number, (point, kind) in enumerate(cells, 1)
    ]


async def run_plans(
    tls: Tls, plans: Sequence[Plan], at_once: int, tell: Callable[[object], None] = lambda cell: None
) -> list[Cell]:
    """Make these calls, ``at_once`` at a time. ``tell`` is called as each finishes."""
    return await run_all([partial(play, tls, plan) for plan in plans], at_once, tell)


async def play(tls: Tls, plan: Plan) -> Cell:
    """Make one call, and again if it proves nothing."""

    async def make() -> Cell:
        return (await _play(tls, plan))[0]

    cell, tries = await proven(make)
    return replace(cell, tries=tries)


async def _play(tls: Tls, plan: Plan) -> tuple[Cell, FakeOpenAI]:
    strikes: list[float] = []
    clock = asyncio.get_running_loop().time

    def strike() -> None:
        strikes.append(clock())

    wrong, point = plan.trouble, plan.point
    scene = Scene(plan.number, soft=plan.soft, turn=point.turn, instead=wrong.instead, strike=strike)
    at = (point.at(_note(strike)), *wrong.at) if wrong.at else ()
    fake = FakeOpenAI(scene.script, (Faults(at=at),), habits=wrong.habits)
    if not (wrong.at or wrong.instead):
        strike()
    patience = EXCHANGES * wrong.late + wrong.waits  # of the caller, who waits for a model that is slow
    steps = scene.short_steps if plan.short else scene.steps
    async with lateness() as late, place(tls, fake) as here:
        call = await here.call(*steps, reply_within=REPLY_WITHIN + patience, max_seconds=LONGEST_CALL + 4 * patience)
    struck_at = strikes[0] if strikes else math.inf
    dead_from = struck_at if plan.kind in DEADLY else None
    ending, why = judge(call, fake, scene, struck_at)
    cell = Cell(
        point=point,
        kind=plan.kind,
        struck=bool(strikes),
        figures=figures_of(call, fake, scene.said_by_agent, plan.own, late=wrong.late, dead_from=dead_from),
        ending=ending,
        why=why,
        left=call.left,
        seconds=call.report.seconds,
        late=late(),
        soft=plan.soft,
    )
    return cell, fake


def _note(strike: Callable[[], None]) -> Change:
    """Return an action that notes when it strikes, and changes nothing."""

    def note(event: Event) -> Event:
        strike()
        return event

    return Change(note)


def _is_soft(point: Point, kind: str, points: Sequence[Point]) -> bool:
    at = points.index(point) if point in points else 0
    return (at + KINDS.index(kind)) % 2 == 1
