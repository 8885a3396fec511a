"""The three measurements, from command-line options to a report."""

from __future__ import annotations

import argparse
import itertools
import secrets
import sys
from collections.abc import Callable

from . import report
from .interruptions import interrupt
from .place import Tls, in_own_place, left_open, open_things
from .report import Report
from .rollover import roll_over
from .table import CallsGoneWrong, Cell, run_cells, undisturbed


async def table(tls: Tls, args: argparse.Namespace) -> Report:
    """Measure faults at each event. Raises `CallsGoneWrong`."""
    points = await in_own_place(undisturbed(tls))
    before = open_things()
    chosen = [point for point in points if (args.all or not point.is_detail) and args.only in str(point)]
    if not chosen:
        raise CallsGoneWrong(
            f"no point's name contains {args.only!r}; the points are\n  " + "\n  ".join(map(str, points))
        )
    cells = [(point, kind) for point in chosen for kind in args.kinds]
    done = await run_cells(tls, cells, args.calls_at_once, _progress(len(cells)))
    return report.of_table(done, args.kinds, await left_open(before))


async def interruptions(tls: Tls, args: argparse.Namespace) -> Report:
    """Measure callers who speak over the agent at random moments."""
    seed = secrets.randbits(32) if args.seed is None else args.seed
    return report.of_interruptions(await interrupt(tls, args.interruptions, args.calls_at_once, seed), seed)


async def rollover(tls: Tls, args: argparse.Namespace) -> Report:
    """Measure the end of a session's hour."""
    return report.of_rollovers(await roll_over(tls, args.calls_at_once))


def _progress(total: int) -> Callable[[Cell], None]:
    """Return a function that counts the calls on a terminal."""
    numbers = itertools.count(1)

    def tell(cell: Cell) -> None:
        if sys.stderr.isatty():
            number = next(numbers)
            print(f"\r{number}/{total} calls", end="\n" if number == total else "", file=sys.stderr, flush=True)

    return tell
