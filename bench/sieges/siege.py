"""One attack on a place: a quiet stretch, the attack, and its aftermath."""

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
LINGERS = 0.5 * SECONDS  # how long an attack's effects last after its end
RECOVERS_WITHIN = 3 * SECONDS  # time for limits of a second or two, and for a late event loop
QUIET_MS = 15.0  # p99 of a quiet stretch if nothing else uses the machine
MOST_LOOKS = 4
ARRIVED_WITHIN = 30 * SECONDS  # for audio that is under way when an attack ends: a busy machine is late with it
CALLERS_TIMEOUT = 120 * SECONDS  # until the last caller was served or gave up
SIGNED = ("flood-", "replay-")  # these attacks have streams of their own


async def besiege(
    place: Place, attack: Attack, *, seconds: float, quiet_seconds: float, afterwards: bool = True
) -> Row:
    """Measure the live calls without and then with the attack. Raises `BenchError`.

    With ``quiet_seconds`` 0, there is no quiet stretch and delays are not judged. ``afterwards`` says whether callers
    arrive after the attack.
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
    await rig.calm(ARRIVED_WITHIN)
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
    """Return the p99 of a stretch without an attack or another disturbance. If each try was disturbed, return the
    best."""
    windows: list[Window] = []
    while len(windows) < MOST_LOOKS:
        window, _ = await _watch(place, seconds)
        windows.append(window)
        if window.p99 < QUIET_MS and window.generator_late < GENERATOR_LATE:
            break
    return min(window.p99 for window in windows)


async def _watch(place: Place, seconds: float, begun: Callable[[], None] = lambda: None) -> tuple[Window, Callers]:
    """Measure the live calls while other callers arrive, and return those callers' results too."""
    place.callers.tell(COME)
    window = await place.rig.window(place.relay, seconds, begun=begun)
    return window, await _callers(place, STOP)


async def _callers(place: Place, command: str) -> Callers:
    """Send a command to the callers' process, and return the callers' results."""
    place.callers.tell(command)
    line = await place.callers.line(CALLERS_TIMEOUT)
    if not line:
        raise BenchError("the callers' process does not answer")
    return Callers(**json.loads(line))


def _others(place: Place, attacker: Process) -> float:
    """Return the CPU time of all unrelated processes, in s."""
    ours = (os.getpid(), place.relay.pid, place.callers.pid, attacker.pid, *place.edge.pids())
    return busy_seconds() - sum(map(cpu_seconds, ours))


async def _look_at_memory(place: Place, most: list[float]) -> None:
    while True:
        most[:] = [max(pair) for pair in zip(most, place.memory(), strict=True)]
        await asyncio.sleep(MEMORY_LOOK)


async def _settled(place: Place, before: tuple[float, float], most: list[float]) -> tuple[Memory, Memory]:
    """Return the memory figures as soon as memory has been freed, or after `MEMORY_BACK_WITHIN`."""
    loop = asyncio.get_running_loop()
    until = loop.time() + MEMORY_BACK_WITHIN
    while True:
        backend, nginx = (Memory(*each) for each in zip(before, most, place.memory(), strict=True))
        if (backend.is_back(BACKEND_KEEPS) and nginx.is_back(NGINX_KEEPS)) or loop.time() > until:
            return backend, nginx
        await asyncio.sleep(SETTLED)


async def _result(attacker: Process) -> dict[str, Any]:
    """Return the attacker's result."""
    line = await attacker.line(END_TIMEOUT)
    if not line:
        return {"tried": 0, "got": {}, "told": [], "calls": 0, "problem": "its process ended without a result"}
    result: dict[str, Any] = json.loads(line)
    return result
