"""The command line of ``bench/faults``: what callers hear when the model fails, or only seems to, is interrupted, or a
session's hour ends."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import uvloop
from callgate.config.settings import Config
from callgate.errors import CallgateError
from callgate.logs.setup import set_up_logging

from . import place
from .kinds import KINDS, USUAL_KINDS, chosen, families
from .place import Tls
from .report import Report
from .sample import sample
from .work import far, interruptions, rollover, table, usual

RESULTS = Path(__file__).resolve().parent.parent / "FAULTS.md"

Work = Callable[[Tls, argparse.Namespace], Awaitable[Report]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return 0 if every bound was kept, 1 if not, 2 for a usage error, 130 after Ctrl-C."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        args.kinds = chosen(args.kinds)
    except KeyError as unknown:
        parser.error(f"unknown kind {unknown}, choose from {', '.join(KINDS)}")
    if args.calls_at_once < 1:
        parser.error("--calls-at-once must be at least 1")
    if args.sample:
        with place.tls_files() as tls:
            print(uvloop.run(sample(tls)))
        return 0
    work = _work(args)
    try:
        report = uvloop.run(_run(work, args))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nstopped; no process is left running", file=sys.stderr)
        return 130
    except CallgateError as error:
        print(f"faults: {error}", file=sys.stderr)
        return 1
    print(report.text)
    if args.json is not None:
        args.json.write_text(json.dumps(report.values, indent=1) + "\n")
    if args.write:
        report.write(RESULTS)
    return 0 if report.is_good else 1


def _work(args: argparse.Namespace) -> Work:
    if args.usual is not None:
        return usual
    if args.far is not None:
        return far
    return rollover if args.rollover else interruptions if args.interruptions is not None else table


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/faults", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    _counted(what, "--interruptions", 200, "measure N interruptions instead")
    _counted(
        what, "--usual", 12, "hold N usual conversations instead, for each way to answer a probe; the model thinks"
    )
    _counted(what, "--far", 200, "hold N short conversations instead with a model that is far away")
    what.add_argument("--sample", action="store_true", help="print one call's record instead")
    what.add_argument(
        "--rollover", action="store_true", help="measure the end of a session's hour instead, on a scaled clock"
    )
    words: dict[str, Any] = {"type": lambda text: tuple(text.split(",")), "metavar": "KIND,…"}
    help = f"any of {', '.join(families(KINDS))}, or a variant: {', '.join(KINDS)} (default: the first five)"
    parser.add_argument("--kinds", **words, default=USUAL_KINDS, help=help)
    parser.add_argument("--only", default="", metavar="PATTERN", help="only points whose name contains this")
    parser.add_argument("--all", action="store_true", help="all kinds but expired and quota")
    parser.add_argument("--details", action="store_true", help="also at events that add little to others")
    parser.add_argument("--calls-at-once", type=int, default=12, metavar="N", help="(default: 12)")
    parser.add_argument("--away", type=float, default=0.6, metavar="SECONDS", help="how far away (default: 0.6)")
    parser.add_argument("--seed", type=int, help="seed of interruptions and conversations (default: random)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write the service's log to this file")
    parser.add_argument("--write", action="store_true", help="write the result to FAULTS.md")
    return parser


def _counted(group: argparse._ActionsContainer, name: str, usual_number: int, help: str) -> None:
    """Add an option that takes a number, or none."""
    text = f"{help} (default: {usual_number})"
    group.add_argument(name, type=int, nargs="?", const=usual_number, metavar="N", help=text)


async def _run(work: Work, args: argparse.Namespace) -> Report:
    place.count_tasks_by_place()
    gc.freeze()  # otherwise each collection would scan every imported module and delay all calls
    log = args.log.open("w") if args.log else None
    try:
        _log_to(log)
        with place.tls_files() as tls:
            return await work(tls, args)
    finally:
        if log is not None:
            log.close()


def _log_to(log: TextIO | None) -> None:
    if log is None:
        logging.getLogger().handlers[:] = [logging.NullHandler()]
    else:
        set_up_logging(Config(), log)


if __name__ == "__main__":
    sys.exit(main())
