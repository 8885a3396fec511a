"""The command line of ``bench/run``. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import cast

import uvloop
from callgate.errors import CallgateError

from . import machine
from .arguments import names, number
from .bench import Bench, Options
from .contenders import CONTENDERS, GENERATOR_CORE
from .model import Load
from .parts import ONCE, ROUNDS
from .report import Figures, render, targets

SEVERAL = "NAME,…"
RESULTS = Path(__file__).with_name("RESULTS.md")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return 0 if everything was measured, 1 if something could not be, 130 after Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(argv)
    bench = Bench(
        Options(
            parts=options.only or (*ROUNDS, *ONCE),
            contenders=options.contenders,
            loads=options.loads,
            calls=options.calls,
            rounds=options.rounds,
            seconds=options.seconds,
            callgate_path=options.callgate_path,
        )
    )
    try:
        uvloop.run(_run(bench))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nstopped; no process is left running", file=sys.stderr)
        return 130
    _tell(bench, write=not (options.only or options.contenders or options.no_write or bench.failures))
    return 1 if bench.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/run", description="Measure what a call costs a relay.")
    parts = {**ROUNDS, **ONCE}
    loads = {load.value: load for load in (Load.ECHO, Load.TALK)}
    parser.add_argument("--only", type=names(parts), metavar=SEVERAL, help=f"any of {', '.join(parts)} (default: all)")
    contenders = ", ".join(CONTENDERS)
    parser.add_argument(
        "--contenders", type=names(CONTENDERS), metavar=SEVERAL, help=f"any of {contenders} (default: each part's own)"
    )
    parser.add_argument(
        "--loads",
        type=lambda text: tuple(loads[name] for name in names(loads)(text)),
        default=tuple(loads.values()),
        metavar=SEVERAL,
        help="echo, talk or both (default: both)",
    )
    parser.add_argument(
        "--calls", type=number(int), default=30, help="calls in the parts that measure a few (default: 30)"
    )
    parser.add_argument("--rounds", type=number(int), default=3, help="(default: 3)")
    parser.add_argument("--seconds", type=number(float), default=4.0, help="length of one measurement (default: 4)")
    parser.add_argument("--callgate-path", metavar="DIR", help="import callgate from this directory")
    parser.add_argument(
        "--no-write", action="store_true", help="do not write RESULTS.md (only a complete run writes it)"
    )
    return parser


async def _run(bench: Bench) -> None:
    asyncio.get_running_loop().add_signal_handler(
        signal.SIGTERM, cast(asyncio.Task[None], asyncio.current_task()).cancel
    )
    os.sched_setaffinity(0, {GENERATOR_CORE})
    for round in range(bench.options.rounds):
        for part in bench.options.parts:
            if part in ROUNDS:
                await _measure(bench, part, ROUNDS[part](bench, round))
    for part in bench.options.parts:
        if part in ONCE:
            await _measure(bench, part, ONCE[part](bench))


async def _measure(bench: Bench, part: str, measuring: Awaitable[None]) -> None:
    """Measure a part. If it fails, report the failure and carry on."""
    try:
        await measuring
    except Exception as error:
        cause = _first(error)
        if not isinstance(cause, CallgateError | OSError):
            raise
        bench.failures.append(f"{part}: {str(cause) or type(cause).__name__}")
        print(f"bench: {bench.failures[-1]}", file=sys.stderr, flush=True)


def _first(error: BaseException) -> BaseException:
    """Return the first error inside an exception group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _tell(bench: Bench, *, write: bool) -> None:
    """Print how the figures compare with the targets, and write all of them to RESULTS.md."""
    print("\n".join(targets(Figures(bench.rows))))
    if write:
        RESULTS.write_text(render(bench.rows, machine.describe()))
        print(f"written: {RESULTS}")


if __name__ == "__main__":
    sys.exit(main())
