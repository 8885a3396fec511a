"""One attack on a place: a quiet stretch, the attack, and what is left when it is over."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import time
from collections.abc import Callable
from typing import Any

from callgate.core.units import SECONDS

from bench.clocks import busy_seconds, cpu_seconds
from bench.errors import BenchError
from bench.window import Window

from .attack import Attack
from .attacker import GO, LET_FINISH, READY
from .callers import COME, SOME, STOP
from .logs import Log, alerts, errors, tracebacks
from .place import Place
from .process import Process, process
from .row import BACKEND_KEEPS, GENERATOR_LATE, NGINX_KEEPS, Callers, Memory, Row

END_TIMEOUT = LET_FINISH + 10 * SECONDS
MEMORY_LOOK = 0.2 * SECONDS
SETTLED = 0.5 * SECONDS
MEMORY_BACK_WITHIN = 10 * SECONDS
LINGERS = 0.5 * SECONDS  # what an attack does, when it is over
RECOVERS_WITHIN = 3 * SECONDS  # what is limited in a second or two, and a loop that was late
QUIET_MS = 15.0  # p99 of a quiet stretch, as long as nobody else has the machine
MOST_LOOKS = 4
CALLERS_TIMEOUT = 120 * SECONDS  # until the last of them was served, or given up
SIGNED = ("flood-", "replay-")  # these have streams of their own


async def besiege(
    place: Place, attack: Attack, *, seconds: float, quiet_seconds: float, afterwards: bool = True
) -> Row:
    """Look at the live calls while nobody attacks, and while somebody does. Raises `BenchError`.

    ``quiet_seconds``: 0 for not at all, and then delays are not judged. ``afterwards``: whether callers come when it is
    over.
    """
    rig = place.rig
    async with contextlib.AsyncExitStack() as stack:
        edge = stack.enter_context(place.failing_edge()) if attack.edge_fails else place.edge
        target = place.target(edge, signs=attack.name.startswith(SIGNED))
        told = json.dumps({"attack": attack.name, "seconds": seconds, "target": target})
        attacker = await stack.enter_async_context(process("bench.sieges.attacker", told, READY))
        quiet_p99 = await _quiet(place, quiet_seconds) if quiet_seconds else math.nan
        opened, asked = rig.model.opened, place.rest.asked
        logs = Log(place.relay.log), Log(place.edge.error_log)
        before = place.memory()
        most = list(before)
        looking = asyncio.ensure_future(_look_at_memory(place, most))
        try:
            began, busy = time.perf_counter(), _others(place, attacker)
            window, callers = await _watch(place, seconds + LINGERS, lambda: attacker.tell(GO))
            others = (_others(place, attacker) - busy) / (time.perf_counter() - began)
            result = await _result(attacker)
        finally:
            looking.cancel()
    await rig.calm()
    after_attack = Callers()
    if afterwards:
        await asyncio.sleep(RECOVERS_WITHIN)
        after_attack = await _callers(place, SOME)
    memories = await _settled(place, before, most)
    log, nginx_log = (log.text() for log in logs)
    return Row(
        attack=attack.name,
        same_address=place.same_address,
        seconds=seconds,
        tried=result["tried"],
        unit=attack.unit,
        got=result["got"],
        told=tuple(result["told"]),
        lost=rig.faults(),
        problems=tuple(rig.tally.problems),
        quiet_p99=quiet_p99,
        p99=window.p99,
        longest=window.longest,
        callers=callers,
        after=after_attack,
        sessions=max(0, rig.model.opened - opened - callers.placed - after_attack.placed),
        sessions_allowed=attack.sessions + result["calls"],
        rest=place.rest.asked - asked,
        rest_allowed=attack.rest,
        backend=memories[0],
        nginx=memories[1],
        tracebacks=tracebacks(log),
        errors=errors(log),
        alerts=alerts(nginx_log),
        generator_late=window.generator_late,
        others=others,
        trouble=result["problem"],
    )


async def _quiet(place: Place, seconds: float) -> float:
    """The p99 of a stretch in which nobody attacks, nor anything else disturbs; the best of several, where each was
    disturbed."""
    windows: list[Window] = []
    while len(windows) < MOST_LOOKS:
        window, _ = await _watch(place, seconds)
        windows.append(window)
        if window.p99 < QUIET_MS and window.generator_late < GENERATOR_LATE:
            break
    return min(window.p99 for window in windows)


async def _watch(place: Place, seconds: float, begun: Callable[[], None] = lambda: None) -> tuple[Window, Callers]:
    """Look at the live calls for so long, while others come; and what became of those."""
    place.callers.tell(COME)
    window = await place.rig.window(place.relay, seconds, begun=begun)
    return window, await _callers(place, STOP)


async def _callers(place: Place, command: str) -> Callers:
    """What became of the callers who had come, or come now."""
    place.callers.tell(command)
    line = await place.callers.line(CALLERS_TIMEOUT)
    if not line:
        raise BenchError("the callers' process does not answer")
    return Callers(**json.loads(line))


def _others(place: Place, attacker: Process) -> float:
    """The CPU time of all processes but those that have a part in this, in s."""
    ours = (os.getpid(), place.relay.pid, place.callers.pid, attacker.pid, *place.edge.pids())
    return busy_seconds() - sum(map(cpu_seconds, ours))


async def _look_at_memory(place: Place, most: list[float]) -> None:
    while True:
        most[:] = [max(pair) for pair in zip(most, place.memory(), strict=True)]
        await asyncio.sleep(MEMORY_LOOK)


async def _settled(place: Place, before: tuple[float, float], most: list[float]) -> tuple[Memory, Memory]:
    """What is taken of memory when all of it is over: at once, or as soon as it is back."""
    loop = asyncio.get_running_loop()
    until = loop.time() + MEMORY_BACK_WITHIN
    while True:
        backend, nginx = (Memory(*each) for each in zip(before, most, place.memory(), strict=True))
        if (backend.is_back(BACKEND_KEEPS) and nginx.is_back(NGINX_KEEPS)) or loop.time() > until:
            return backend, nginx
        await asyncio.sleep(SETTLED)


async def _result(attacker: Process) -> dict[str, Any]:
    """What came of it."""
    line = await attacker.line(END_TIMEOUT)
    if not line:
        return {"tried": 0, "got": {}, "told": [], "calls": 0, "problem": "its process ended without a result"}
    result: dict[str, Any] = json.loads(line)
    return result
