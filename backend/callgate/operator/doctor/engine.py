"""Runs checks: those that need nothing of each other side by side, each with a deadline.

A check whose need was found wrong is not made: its finding would only repeat the cause.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from callgate.core.units import SECONDS

from .finding import Finding, Result, Status, skipped, warning

DEADLINE: Final = 20 * SECONDS

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[T]):
    """One thing to look at. ``name`` is what machines know it by; ``look`` gets what all checks share.

    ``needs``: the checks without which this one can't be judged; ``after``: those that it only waits for.
    """

    name: str
    title: str
    look: Callable[[T], Awaitable[Sequence[Finding]]]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    deadline: float = DEADLINE


async def run(checks: Sequence[Check[T]], shared: T) -> list[Result]:
    """Make all checks. The results come in the order of ``checks``, which names those needed before who needs them."""
    tasks: dict[str, asyncio.Task[Result]] = {}
    titles = {check.name: check.title for check in checks}
    async with asyncio.TaskGroup() as group:
        for check in checks:
            before = {name: tasks[name] for name in (*check.needs, *check.after)}
            tasks[check.name] = group.create_task(_make(check, shared, before, titles))
    return [task.result() for task in tasks.values()]


async def _make(
    check: Check[T], shared: T, before: Mapping[str, asyncio.Task[Result]], titles: Mapping[str, str]
) -> Result:
    results = {name: await task for name, task in before.items()}
    for need in check.needs:
        if (cause := _cause(results[need])) is not None:
            return hidden(check, cause, titles[cause])
    loop = asyncio.get_running_loop()
    began = loop.time()
    findings = await _look(check, shared)
    return Result(check.name, check.title, tuple(findings), loop.time() - began)


def hidden(check: Check[T], cause: str, title: str) -> Result:
    """The result of a check that was not made, for what another one found."""
    return Result(check.name, check.title, (skipped(f"not while {title} is wrong"),), cause=cause)


def _cause(need: Result) -> str | None:
    return need.name if need.status is Status.WRONG else need.cause


async def _look(check: Check[T], shared: T) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(check.deadline):
            return await check.look(shared)
    except TimeoutError:
        found = f"it could not be told within {check.deadline:.0f} s"
        return [warning(found, "an answer in time", "Run callgate doctor again; is this machine's network slow?")]
    except Exception as exc:  # the other checks are still worth having
        found = f"the doctor itself failed here: {type(exc).__name__}: {exc}"
        return [warning(found, "a finding", "Please report this line as a bug of Callgate's")]
