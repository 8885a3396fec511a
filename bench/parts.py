"""The parts of a run. All contenders take part in every round of those in `ROUNDS`; those in `ONCE` run once."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial

from callgate.core.units import SECONDS

from .bench import Bench
from .contenders import CONTENDERS, Relay
from .edge import Edge, Trust
from .errors import BenchError
from .generator import Caller
from .limit import Trial, look, most_calls
from .machine import kept_awake
from .model import Load
from .rig import Rig
from .share import Share
from .window import Spread

WARM_UP = 1.5 * SECONDS
CPU_MORE_LOOKS = 3  # per round, for the contenders whose ratio is wanted, because one measurement is not enough
ASLEEP_LOOKS = 2  # per round
MANY_CALLS = 100
LONGER = 2  # times the usual length, because the talk load's cycle is ten seconds

MEMORY_SETTLES = 8 * SECONDS  # time for the store to write, idle connections to close, and audio buffers to fill
CHURN_THOUSANDS = 4  # thousands of calls set up and torn down
CHURN_AT_ONCE = 25

WEBHOOKS_A_SECOND = 50
SHORT_CALL = 0.5 * SECONDS

SCALE_SHARE = 0.25  # of a core, per backend
SCALE_GUESS = 40  # calls per backend

GROWTH_CALLS = (10, 20, 40, 80, 160, 240, 320, 480, 640)

HOUR_FRAMES = 180_000
HOUR_PARTS = 6
HOUR_WINDOW = 32  # frames on their way at once
SIXTH_TIMEOUT = 20 * SECONDS


def _ordered(names: tuple[str, ...], round: int) -> tuple[str, ...]:
    return names[::-1] if round % 2 else names


async def cpu(bench: Bench, round: int) -> None:
    """CPU time per call-second, and added latency, at a few calls on cores that are kept awake."""
    with kept_awake():
        for load in bench.options.loads:
            more = ("quart", "callgate-interpreted", "callgate-ordinary") if load is Load.ECHO else ()
            looks = [bench.contenders("callgate", "floor", "fastapi", "fastapi-lean", *more)]
            looks += [bench.contenders("callgate", "floor", "fastapi")] * CPU_MORE_LOOKS
            await _look_in_turn(bench, round, "cpu", load, looks)


async def asleep(bench: Bench, round: int) -> None:
    """The same on cores that sleep between messages, as on most machines."""
    for load in bench.options.loads:
        looks = [bench.contenders("callgate", "floor", "fastapi")] * ASLEEP_LOOKS
        await _look_in_turn(bench, round, "asleep", load, looks)


async def _look_in_turn(bench: Bench, round: int, part: str, load: Load, looks: Sequence[tuple[str, ...]]) -> None:
    seconds = bench.options.seconds * (LONGER if load is Load.TALK else 1)
    for at, names in enumerate(looks):
        for name in _ordered(names, round + at):
            async with bench.running(name, load) as (rig, relay):
                await rig.set_calls(relay, bench.options.calls)
                await asyncio.sleep(WARM_UP)
                bench.note_window(f"{part} {load.value}", name, round, await rig.window(relay, seconds))


async def limit(bench: Bench, round: int) -> None:
    """The most calls without audible trouble, and the latency at half of them."""
    for load in bench.options.loads:
        more = ("floor", "quart") if load is Load.ECHO else ()
        usual = ("callgate", "fastapi", "fastapi-lean", *more)
        for name in _ordered(bench.contenders(*usual), round):
            before = bench.values(f"limit {load.value}", name, "most")
            found = await most_calls(partial(bench.trial, name, load), int(before[-1]) if before else None)
            bench.note(f"limit {load.value}", name, round, f"{found.calls} calls", found.note, most=found.calls)
            if found.half is not None:
                bench.note_window(f"half {load.value}", name, round, found.half)


async def clear(bench: Bench, round: int) -> None:
    """The delay from ``speech_started`` to ``clear`` with many calls."""
    for name in _ordered(bench.contenders("callgate", "floor", "fastapi"), round):
        async with bench.running(name, Load.TALK) as (rig, relay):
            await rig.set_calls(relay, MANY_CALLS)
            await asyncio.sleep(WARM_UP)
            bench.note_window("clear", name, round, await rig.window(relay, LONGER * bench.options.seconds))


async def setup(bench: Bench, round: int) -> None:
    """Complete call set-ups at a fixed rate, while many calls are live."""
    for name in bench.callgates():
        async with bench.running(name, Load.ECHO) as (rig, relay):
            await rig.set_calls(relay, MANY_CALLS)
            await asyncio.sleep(WARM_UP)
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(rig.window(relay, bench.options.seconds))
                group.create_task(_arrivals(rig, relay, bench.options.seconds))
            window = looking.result()
            webhooks, first = Spread.of(rig.tally.webhooks), Spread.of(rig.tally.first_audio)
            bench.note(
                "setup",
                name,
                round,
                f"{webhooks.count} webhooks {webhooks}, upgrade to first audio {first}; meanwhile {window}",
                window.doubt,
                twiml_p50=webhooks.p50,
                twiml_p99=webhooks.p99,
                first_p50=first.p50,
                first_p99=first.p99,
                live_p99=window.p99,
            )


async def _arrivals(rig: Rig, relay: Relay, seconds: float) -> None:
    """Make calls arrive, hear something and hang up."""

    async def call() -> None:
        caller = await rig.open_call(relay)
        await asyncio.sleep(SHORT_CALL)
        await rig.hang_up([caller.number])

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for index in range(int(seconds * WEBHOOKS_A_SECOND)):
            await asyncio.sleep(max(0.0, began + index / WEBHOOKS_A_SECOND - time.perf_counter()))
            group.create_task(call())


async def tls(bench: Bench, round: int) -> None:
    """The cost with TLS at an nginx in front of the relay, and TLS to the model."""
    for name in _ordered(bench.contenders("callgate", "fastapi"), round):
        with Trust() as trust:
            async with bench.running(name, Load.ECHO, model_tls=trust.model_tls(), environ=trust.environ) as (
                rig,
                relay,
            ):
                with Edge(trust, relay.port) as edge:
                    await rig.set_calls(relay, bench.options.calls, edge.door)
                    await asyncio.sleep(WARM_UP)
                    window = await rig.window(relay, bench.options.seconds, edge.cpu_seconds)
                    bench.note_window("tls", name, round, window, nginx=window.cpu_beside)
                    await rig.hang_up(list(rig.callers))


async def memory(bench: Bench) -> None:
    """Memory of a live call, idle and busy, and the memory that remains after many calls have ended."""
    for name in bench.contenders("callgate", "floor", "fastapi", "quart"):
        each = {}
        for load in (Load.SILENT, Load.ECHO):
            async with bench.running(name, load) as (rig, relay):
                await _churn(rig, relay, CHURN_AT_ONCE)
                await asyncio.sleep(MEMORY_SETTLES)
                empty = relay.memory()
                await rig.set_calls(relay, MANY_CALLS)
                await asyncio.sleep(MEMORY_SETTLES)
                each[load] = (relay.memory() - empty) / MANY_CALLS / 1e3
                await rig.hang_up(list(rig.callers))
        idle, busy = each[Load.SILENT], each[Load.ECHO]
        told = f"{idle:.0f} kB for each of {MANY_CALLS} live calls, {busy:.0f} kB while both sides speak"
        bench.note("memory", name, 0, told, idle=idle, busy=busy)
        if not CONTENDERS[name].webhooks:
            continue
        async with bench.running(name, Load.SILENT) as (rig, relay):
            for thousand in range(1, CHURN_THOUSANDS + 1):
                began = time.perf_counter()
                await _churn(rig, relay, 1000)
                a_second = 1000 / (time.perf_counter() - began)
                await asyncio.sleep(MEMORY_SETTLES)
                size = relay.memory() / 1e6
                told = f"{size:.1f} MB after {thousand},000 calls ({a_second:.0f} a second)"
                bench.note("churn", name, thousand, told, thousand=thousand, size=size)


async def _churn(rig: Rig, relay: Relay, calls: int) -> None:
    """Set up calls and hang up, a few at a time."""
    for _ in range(0, calls, CHURN_AT_ONCE):
        await rig.set_calls(relay, CHURN_AT_ONCE)
        await rig.hang_up(list(rig.callers))


async def growth(bench: Bench) -> None:
    """The cost of a call as calls are added, until there is audible trouble, on cores that are kept awake."""
    for name in bench.contenders("callgate", "floor"):
        with kept_awake():
            await _grow(bench, name)


async def _grow(bench: Bench, name: str) -> None:
    async with bench.trial(name, Load.ECHO) as trial:
        for calls in GROWTH_CALLS:
            window = await look(trial, calls)
            if window is None or not window.good:
                print(f"     {name} at its end: {window or f'{calls} calls could not all be opened'}", flush=True)
                trial.kill()
                break
            bench.note_window("growth", name, 0, window)


async def hour(bench: Bench) -> None:
    """One call an hour long, as fast as the relay takes it; playback keeps up."""
    for name in bench.contenders("callgate", "floor"):
        async with bench.running(name, Load.ECHO, unbounded=True) as (rig, relay):
            caller = await rig.open_call(relay)
            await asyncio.sleep(WARM_UP)
            for part in range(HOUR_PARTS):
                began = relay.cpu_seconds()
                frames = HOUR_FRAMES // HOUR_PARTS
                await _speak(caller, frames)
                spent = 1e6 * (relay.cpu_seconds() - began) / frames
                size = relay.memory() / 1e6
                told = f"sixth {part + 1}: {spent:.1f} ms of CPU for 1,000 frames there and back, {size:.1f} MB"
                bench.note("hour", name, part, told, spent=spent, size=size)


async def _speak(caller: Caller, frames: int) -> None:
    """Send frames as answers arrive, a few on their way at a time, until all have come back."""
    caller.plays_at_once = True
    left = frames
    done = asyncio.get_running_loop().create_future()

    def go_on() -> None:
        nonlocal left
        while left and caller.to_model.waiting + caller.to_caller.waiting < HOUR_WINDOW:
            left -= 1
            caller.speak(time.perf_counter())
        if not left and not caller.to_model.waiting + caller.to_caller.waiting and not done.done():
            done.set_result(None)

    caller.on_heard = go_on
    go_on()
    try:
        await asyncio.wait_for(done, SIXTH_TIMEOUT)
    except TimeoutError:
        waiting = caller.to_model.waiting, caller.to_caller.waiting
        raise BenchError(
            f"the call of an hour stopped with {left} frames to go, {waiting[0]} on their way to the model, "
            f"{waiting[1]} on their way back"
        ) from None


async def scale(bench: Bench) -> None:
    """The most calls of one backend and of two behind nginx, each with the same share of a core."""
    for name in bench.callgates():
        for backends in (1, 2):
            found = await most_calls(partial(_behind_nginx, bench, name, backends), SCALE_GUESS * backends)
            told = f"{found.calls} calls on {backends} x {SCALE_SHARE:.0%} of a core"
            bench.note(f"scale {backends}", name, 0, told, found.note, most=found.calls)


@contextlib.asynccontextmanager
async def _behind_nginx(bench: Bench, name: str, backends: int) -> AsyncIterator[Trial]:
    async with contextlib.AsyncExitStack() as stack:
        trust = stack.enter_context(Trust())
        rig = await stack.enter_async_context(Rig(Load.ECHO))
        relays = []
        for index in range(backends):
            share = stack.enter_context(Share(str(index), SCALE_SHARE))
            relay = bench.relay(name, rig.model.url)
            relays.append(await stack.enter_async_context(relay))
            share.add(relay.pid)
        edge = stack.enter_context(Edge(trust, *(relay.port for relay in relays)))
        yield Trial(rig, relays, edge.door)
        await rig.hang_up(list(rig.callers))


ROUNDS: dict[str, Callable[[Bench, int], Awaitable[None]]] = {
    "cpu": cpu,
    "asleep": asleep,
    "limit": limit,
    "clear": clear,
    "setup": setup,
    "tls": tls,
}
ONCE: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "memory": memory,
    "growth": growth,
    "hour": hour,
    "scale": scale,
}
