"""Calls whose model fails in one way at one point, and how they went on."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import Enum
from typing import Any

from callgate.core.units import SECONDS
from support.fake_openai import At, Change, Connection, Event, FakeOpenAI, Faults

from bench.errors import BenchError

from . import hearing
from .hearing import Sentence
from .place import Call, Tls, in_own_place, lateness, place
from .points import FATAL, KINDS, Point, points_of
from .scene import Scene, history

SILENCE_BOUND = 2 * SECONDS
TRIES = 3
LATE = 0.1 * SECONDS  # the delay of this process, which runs the caller, the service and the model
STAGGER = 0.13 * SECONDS  # so that the calls do not all arrive at once
# anything heard at least this long before a session's first response must be in its history
TOLD_WITHIN = 0.3 * SECONDS


WRITTEN = frozenset({"conversation.item.input_audio_transcription.completed", "response.output_audio_transcript.done"})


class Ending(Enum):
    """How a call went on after the fault."""

    UNHARMED = "unharmed"  # the model's session survived
    WENT_ON = "went on"  # with another session, which knew what had been said
    SAFETY_NET = "safety net"  # apology and FALLBACK_DIAL
    FORGOT = "FORGOT"  # another session, which did not know what had been said
    LOST = "LOST"  # neither a goodbye that was heard nor the safety net

    @property
    def is_designed(self) -> bool:
        """Whether this is an acceptable ending."""
        return self not in (Ending.FORGOT, Ending.LOST)


@dataclass(frozen=True, slots=True)
class Cell:
    """The result of one call. ``silence`` is the longest, in seconds. ``left`` is what the call left behind."""

    point: Point
    kind: str
    struck: bool
    silence: float
    ending: Ending
    why: str
    left: tuple[str, ...]
    sessions: int
    seconds: float
    late: float  # this process's worst delay during the call, in seconds
    tries: int = 1

    @property
    def is_good(self) -> bool:
        """Whether neither the caller nor the operator has cause for complaint."""
        return (
            self.struck
            and self.silence <= SILENCE_BOUND
            and self.ending.is_designed
            and not self.left
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
    cell, connection = await _play(tls, 0, None)
    if cell.ending is not Ending.UNHARMED or cell.silence > SILENCE_BOUND or cell.left:
        raise CallsGoneWrong(
            f"the call without a fault: {cell.ending.value}, {cell.why}, {cell.silence:.2f} s of silence, "
            f"left behind: {', '.join(cell.left) or 'nothing'}"
        )
    return points_of(connection.sent)


async def run_cells(
    tls: Tls,
    cells: Sequence[tuple[Point, str]],
    at_once: int,
    tell: Callable[[Cell], None] = lambda cell: None,
    *,
    short: bool = False,
) -> list[Cell]:
    """Make each cell's call, ``at_once`` at a time. ``tell`` is called as each finishes."""
    waiting = iter(enumerate(cells, 1))
    done: dict[int, Cell] = {}

    async def work(delay: float) -> None:
        await asyncio.sleep(delay)
        for number, (point, kind) in waiting:
            done[number] = await in_own_place(play(tls, number, point, kind, short=short))
            tell(done[number])

    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(work(number * STAGGER))
    return [done[number] for number in sorted(done)]


async def play(tls: Tls, number: int, point: Point, kind: str, *, short: bool = False) -> Cell:
    """Make one call with one fault, on its first session only. Each ``number`` gives different words.

    A call that went badly while this process was late proves nothing, so it is made again.
    """
    cell, _ = await _play(tls, number, point, kind, short=short)
    while not cell.is_good and cell.late > LATE and cell.tries < TRIES:
        again, _ = await _play(tls, number, point, kind, short=short)
        cell = replace(again, tries=cell.tries + 1)
    return cell


async def _play(
    tls: Tls, number: int, point: Point | None, kind: str = "", *, short: bool = False
) -> tuple[Cell, Connection]:
    scene = Scene(number)
    strikes: list[float] = []
    at: list[At] = [] if point is None else [point.at(action) for action in (_note(strikes), *KINDS[kind])]
    fake = FakeOpenAI(scene.script, (Faults(at=at),))
    async with lateness() as late, place(tls, fake) as here:
        call = await here.call(*(scene.short_steps if short else scene.steps))
    ending, why = judge(call, fake, scene, strikes[0] if strikes else math.inf)
    cell = Cell(
        point=point or Point(0, "", 0),
        kind=kind,
        struck=bool(strikes),
        silence=hearing.worst(hearing.silences(call.report, scene.said_by_agent)),
        ending=ending,
        why=why,
        left=call.left,
        sessions=len(fake.connections),
        seconds=call.report.seconds,
        late=late(),
    )
    return cell, fake.connections[0]


def _note(strikes: list[float]) -> Change:
    """Return an action that records when it strikes, in the loop's time, and changes nothing."""
    clock = asyncio.get_running_loop().time

    def note(event: Event) -> Event:
        strikes.append(clock())
        return event

    return Change(note)


# Judging a call.


def judge(call: Call, fake: FakeOpenAI, scene: Scene, struck_at: float) -> tuple[Ending, str]:
    """Return how the call ended, and the reason for that verdict. ``struck_at`` is when the fault came, in the
    loop's time."""
    report = call.report
    if fake.violations:
        return Ending.LOST, fake.violations[0]
    if report.ended == "dialled" and "Say" in report.verbs:
        return Ending.SAFETY_NET, "apologised, and put through"
    goodbye = any(hearing.ends_in(scene.goodbye, report.heard))
    if report.ended != "the app hung up" or not goodbye:
        return Ending.LOST, f"{report.ended}; the goodbye was {'' if goodbye else 'not '}heard to its end"
    if missing := forgotten(call, fake, scene, struck_at):
        return Ending.FORGOT, f"a further session was not told {missing.text!r}"
    if len(list(hearing.ends_in(scene.greeting, report.heard))) > 1:
        return Ending.FORGOT, "the caller was greeted again"
    if any(_served(connection) for connection in fake.connections[1:]):
        return Ending.WENT_ON, "with another session"
    return Ending.UNHARMED, "with the same session"


def forgotten(call: Call, fake: FakeOpenAI, scene: Scene, struck_at: float) -> Sentence | None:
    """Return a sentence that was said before a later session took over and that the session was not told, if any.

    What the first session sent after ``struck_at`` may have gone unread.
    """
    for connection in fake.connections[1:]:
        began = _took_over(fake, connection)
        if began is None:
            continue
        told = " ".join(text for _, text in history(connection.received))
        before = began - TOLD_WITHIN
        written = set(_written_by(before, struck_at, fake.connections[: connection.number]))
        said = [*_heard_by(call, before, scene), *scene.said_by_caller]
        for sentence in said:
            if sentence.text in written and sentence.text not in told:
                return sentence
    return None


def _heard_by(call: Call, before: float, scene: Scene) -> list[Sentence]:
    """Return the agent's sentences that had been heard to the end at ``before``, in the loop's time."""
    report = call.report
    return [
        sentence
        for sentence in scene.said_by_agent
        if any(call.zero + hearing.at_second(report, at) < before for at in hearing.ends_in(sentence, report.heard))
    ]


def _written_by(before: float, struck_at: float, sessions: Iterable[Connection]) -> Iterator[str]:
    """Yield the transcripts of both sides that these sessions had sent at ``before``, in the loop's time."""
    for session in sessions:
        until = min(before, struck_at) if session.number == 0 else before
        for event, at in zip(session.sent, session.sent_at, strict=True):
            if at < until and event["type"] in WRITTEN:
                yield event["transcript"]


def _served(connection: Connection) -> bool:
    """Whether the session took part in the conversation."""
    return any(event.get("type") == "input_audio_buffer.append" for event in connection.received)


def _took_over(fake: FakeOpenAI, connection: Connection) -> float | None:
    """Return when a session was first asked to speak or given the caller's audio, in the loop's time."""
    times = [
        received.at
        for received in fake.events_received
        if received.connection == connection.number
        and received.event.get("type") in ("response.create", "input_audio_buffer.append")
    ]
    return min(times, default=None)
