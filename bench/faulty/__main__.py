"""The command line of ``bench/faults``: what callers hear when the model fails, is interrupted, or a session's hour
ends."""

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
from .place import Tls
from .points import KINDS, USUAL_KINDS
from .report import Report
from .sample import sample
from .work import interruptions, rollover, table

RESULTS = Path(__file__).resolve().parent.parent / "FAULTS.md"

Work = Callable[[Tls, argparse.Namespace], Awaitable[Report]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return 0 if every bound was kept, 1 if not, 2 for a usage error, 130 after Ctrl-C."""
    parser = _parser()
    args = parser.parse_args(argv)
    if unknown := [kind for kind in args.kinds if kind not in KINDS]:
        parser.error(f"unknown kind {unknown[0]!r}, choose from {', '.join(KINDS)}")
    if args.calls_at_once < 1:
        parser.error("--calls-at-once must be at least 1")
    if args.sample:
        with place.tls_files() as tls:
            print(uvloop.run(sample(tls)))
        return 0
    work: Work = rollover if args.rollover else interruptions if args.interruptions is not None else table
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/faults", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--interruptions",
        type=int,
        nargs="?",
        const=200,
        metavar="N",
        help="measure N interruptions instead (default: 200)",
    )
    what.add_argument("--sample", action="store_true", help="print one call's record instead")
    what.add_argument(
        "--rollover", action="store_true", help="measure the end of a session's hour instead, on a scaled clock"
    )
    words: dict[str, Any] = {"type": lambda text: tuple(text.split(",")), "metavar": "KIND,…"}
    parser.add_argument(
        "--kinds", **words, default=USUAL_KINDS, help=f"any of {', '.join(KINDS)} (default: the first five)"
    )
    parser.add_argument("--only", default="", metavar="PATTERN", help="only points whose name contains this")
    parser.add_argument("--all", action="store_true", help="every event, including those that add little to others")
    parser.add_argument("--calls-at-once", type=int, default=12, metavar="N", help="(default: 12)")
    parser.add_argument("--seed", type=int, help="seed of the interruptions (default: random)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--log", type=Path, metavar="FILE", help="write the service's log to this file")
    parser.add_argument("--write", action="store_true", help="write the result to FAULTS.md")
    return parser


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
