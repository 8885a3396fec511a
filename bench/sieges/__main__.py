"""The command line of ``bench/siege``: live calls through the real edge, while strangers attack it."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import uvloop
from callgate.errors import CallgateError

from bench.arguments import names, number
from bench.errors import BenchError
from bench.machine import kept_awake

from . import attacks, report
from .attack import ATTACKS, Attack
from .place import place
from .row import Row
from .siege import besiege

RESULTS = Path(__file__).resolve().parent.parent / "SIEGE.md"
QUIET_SHARE, QUIET_LEAST, QUIET_MOST = 0.5, 2.0, 5.0  # share of an attack's seconds; bounds in seconds
MOST_TIMES = 3  # tries per attack, if the machine was disturbed
WARM_UP = 1.0  # seconds

__all__ = ["attacks"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return 0 if every bound was kept, 1 if not, 2 for a usage error, 130 after Ctrl-C."""
    parser = _parser()
    args = parser.parse_args(argv)
    if args.list:
        for each in ATTACKS.values():
            print(f"{each.name:24} {each.about}")
        return 0
    if args.write and (args.only or args.same_address):
        parser.error("--write needs a complete run")
    try:
        rows, missing = uvloop.run(_run(args))
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nstopped; no process is left running", file=sys.stderr)
        return 130
    except CallgateError as error:
        print(f"siege: {error}", file=sys.stderr)
        return 1
    print(report.summary(rows))
    if args.json is not None:
        args.json.write_text(json.dumps(report.as_json(rows), indent=1) + "\n")
    if args.write and not missing:
        report.write(RESULTS, rows, args.calls)
    return 0 if rows and not missing and all(row.is_good for row in rows) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench/siege", description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the attacks and exit")
    parser.add_argument(
        "--only", type=names(ATTACKS), metavar="NAME,…", help="any of the attacks that --list shows (default: all)"
    )
    parser.add_argument(
        "--same-address",
        action="store_true",
        help="attack from the callers' own address (without --only, just the attacks where it matters)",
    )
    parser.add_argument("--calls", type=number(int), default=20, metavar="N", help="live calls (default: 20)")
    parser.add_argument(
        "--seconds",
        type=number(float),
        default=8.0,
        metavar="N",
        help="length of one attack; some last longer (default: 8)",
    )
    parser.add_argument("--callgate-path", metavar="DIR", help="import callgate from this directory")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--write", action="store_true", help="write the result to SIEGE.md")
    return parser


async def _run(args: argparse.Namespace) -> tuple[list[Row], bool]:
    """Return the rows, and whether an attack could not be measured."""
    gc.freeze()  # otherwise each collection would scan every imported module and delay all calls
    chosen = [ATTACKS[name] for name in args.only or ATTACKS]
    from_same = chosen if args.only else [each for each in chosen if each.from_same]
    todo = [] if args.same_address else [(each, False) for each in chosen]
    if args.same_address or not args.only:
        todo += [(each, True) for each in from_same]
    with kept_awake():
        rows = [await _one(args, attack, same_address) for attack, same_address in todo]
    return [row for row in rows if row is not None], None in rows


async def _one(args: argparse.Namespace, attack: Attack, same_address: bool) -> Row | None:
    """Run an attack. Repeat it while the result is in doubt."""
    row = None
    for _ in range(MOST_TIMES):
        try:
            row = await _once(args, attack, same_address)
        except BenchError as error:
            print(f"{attack.name:22} could not be run: {error}", flush=True)
            continue
        if row.is_good or not row.in_doubt:
            break
    if row is not None:
        print(report.line(row), flush=True)
    return row


async def _once(args: argparse.Namespace, attack: Attack, same_address: bool) -> Row:
    """Run an attack on a fresh place, so that what it leaves behind is never blamed on the next."""
    async with place(args.calls, callgate_path=args.callgate_path, same_address=same_address) as here:
        await asyncio.sleep(WARM_UP)
        quiet = min(max(QUIET_SHARE * args.seconds, QUIET_LEAST), QUIET_MOST)
        return await besiege(here, attack, seconds=args.seconds * attack.lasts, quiet_seconds=quiet)


if __name__ == "__main__":
    sys.exit(main())
