"""Runs the checks: concurrently unless they depend on each other, each with a deadline.

A check that depends on something wrong is not made, because its finding would only repeat the cause.
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
    """One check. ``name`` identifies it to machines; ``look`` is called with what all checks share.

    ``needs``: the checks that must not be wrong for this one to be made; ``after``: those that it only waits for.
    """

    name: str
    title: str
    look: Callable[[T], Awaitable[Sequence[Finding]]]
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    deadline: float = DEADLINE


async def run(checks: Sequence[Check[T]], shared: T) -> list[Result]:
    """Make all checks. Returns the results in the order of ``checks``, where each check follows those it depends on."""
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
    """Return the result of a check that was not made because of what another one found."""
    return Result(check.name, check.title, (skipped(f"not checked, because this is wrong: {title}"),), cause=cause)


def _cause(need: Result) -> str | None:
    return need.name if need.status is Status.WRONG else need.cause


async def _look(check: Check[T], shared: T) -> Sequence[Finding]:
    try:
        async with asyncio.timeout(check.deadline):
            return await check.look(shared)
    except TimeoutError:
        found = f"the check was not done within {check.deadline:.0f} s"
        return [warning(found, "a result in time", "Run callgate doctor again. Is this machine's network slow?")]
    except Exception as exc:  # the other checks are still worth having
        found = f"the doctor itself failed in this check: {type(exc).__name__}: {exc}"
        return [warning(found, "a result", "Please report this line as a bug in Callgate")]
