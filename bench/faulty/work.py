"""The measurements, from command-line options to a report."""

from __future__ import annotations

import argparse
import itertools
import secrets
import sys
from collections.abc import Callable

from . import living, living_report, report, table_report
from .interruptions import interrupt
from .kinds import ALL_KINDS, strikes
from .place import Tls, in_own_place, left_open, open_things
from .report import Report
from .rollover import roll_over
from .table import CallsGoneWrong, plans_of, run_plans, undisturbed
from .tool import tool


async def table(tls: Tls, args: argparse.Namespace) -> Report:
    """Measure faults at each event. Raises `CallsGoneWrong`."""
    async with tool(tls) as with_tool:
        points = await in_own_place(undisturbed(with_tool))
        before = open_things()
        usual = [point for point in points if args.details or not point.is_detail]
        chosen = [point for point in usual if args.only in str(point)]
        if not chosen:
            names = "\n  ".join(map(str, points))
            raise CallsGoneWrong(f"no point's name contains {args.only!r}; the points are\n  {names}")
        kinds = ALL_KINDS if args.all else args.kinds
        cells = [(point, kind) for point in chosen for kind in kinds if strikes(kind, point)]
        done = await run_plans(with_tool, plans_of(cells, usual), args.calls_at_once, _progress(len(cells)))
        return table_report.of_table(done, await left_open(before))


async def usual(tls: Tls, args: argparse.Namespace) -> Report:
    """Measure usual conversations with a model that thinks."""
    seed, tell = _seed(args), _progress(args.usual * len(living.PROBES))
    return living_report.of_usual(await living.usual(tls, args.usual, args.calls_at_once, seed, tell), seed)


async def far(tls: Tls, args: argparse.Namespace) -> Report:
    """Measure conversations with a model that is far away."""
    seed, tell = _seed(args), _progress(args.far)
    held = await living.far(tls, args.far, args.calls_at_once, seed, args.away, tell)
    return living_report.of_far(held, seed, args.away)


async def interruptions(tls: Tls, args: argparse.Namespace) -> Report:
    """Measure callers who speak over the agent at random moments."""
    return report.of_interruptions(
        await interrupt(tls, args.interruptions, args.calls_at_once, seed := _seed(args)), seed
    )


async def rollover(tls: Tls, args: argparse.Namespace) -> Report:
    """Measure the end of a session's hour."""
    return report.of_rollovers(await roll_over(tls, args.calls_at_once))


def _seed(args: argparse.Namespace) -> int:
    return secrets.randbits(32) if args.seed is None else int(args.seed)


def _progress(total: int) -> Callable[[object], None]:
    """Return a function that counts the calls on a terminal."""
    numbers = itertools.count(1)

    def tell(done: object) -> None:
        if sys.stderr.isatty():
            number = next(numbers)
            print(f"\r{number}/{total} calls", end="\n" if number == total else "", file=sys.stderr, flush=True)

    return tell
