"""Makes many calls, several at a time, and makes those again that prove nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Protocol, TypeVar

from callgate.core.units import SECONDS

from .place import in_own_place

TRIES = 3
LATE = 0.1 * SECONDS  # the delay of this process, which runs the caller, the service and the model
STAGGER = 0.13 * SECONDS  # so that the calls do not all arrive at once


class Judged(Protocol):
    """The result of one call. ``late`` is this process's worst delay during the call, in seconds."""

    @property
    def is_good(self) -> bool: ...

    @property
    def late(self) -> float: ...


Result = TypeVar("Result")
Verdict = TypeVar("Verdict", bound=Judged)


async def run_all(
    jobs: Sequence[Callable[[], Coroutine[Any, Any, Result]]],
    at_once: int,
    tell: Callable[[Result], None] = lambda result: None,
) -> list[Result]:
    """Do these jobs, ``at_once`` at a time, and return their results in order. ``tell`` is called as each finishes."""
    waiting = iter(enumerate(jobs))
    done: dict[int, Result] = {}

    async def work(delay: float) -> None:
        await asyncio.sleep(delay)
        for number, job in waiting:
            done[number] = await in_own_place(job())
            tell(done[number])

    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(work(number * STAGGER))
    return [done[number] for number in sorted(done)]


async def proven(make: Callable[[], Awaitable[Verdict]]) -> tuple[Verdict, int]:
    """Make a call, and return its result and how often it was made: one that went badly while this process was late
    proves nothing, so it is made again."""
    verdict, tries = await make(), 1
    while not verdict.is_good and verdict.late > LATE and tries < TRIES:
        verdict, tries = await make(), tries + 1
    return verdict, tries
