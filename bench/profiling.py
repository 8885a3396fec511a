"""The command line of ``bench/profile``: where a relay's CPU time goes under one of the loads. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import collections
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import uvloop
from callgate.core.units import SECONDS
from callgate.errors import CallgateError

from .bench import Bench, Options
from .contenders import CONTENDERS, GENERATOR_CORE
from .errors import BenchError
from .model import Load

WARM_UP = 1.5 * SECONDS
PY_SPY_TIMEOUT = 30 * SECONDS  # in addition to the recording itself
SAMPLES_A_SECOND = 500
SHOWN = 40


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line. Return 0, or 1 after a failure."""
    parser = argparse.ArgumentParser(prog="bench/profile", description="Show where a relay's CPU time goes.")
    parser.add_argument("--contender", choices=CONTENDERS, default="callgate", help="(default: callgate)")
    parser.add_argument("--load", choices=[load.value for load in Load], default="echo", help="(default: echo)")
    parser.add_argument("--calls", type=int, default=100, help="(default: 100)")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each recording (default: 8)")
    parser.add_argument("--native", action="store_true", help="include functions of C extensions")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="record again, and write a flame graph to this directory"
    )
    parser.add_argument("--callgate-path", metavar="DIR", help="import callgate from this directory")
    options = parser.parse_args(argv)
    try:
        uvloop.run(_profile(options))
    except (CallgateError, OSError) as error:
        print(f"profile: {error}", file=sys.stderr)
        return 1
    return 0


async def _profile(options: argparse.Namespace) -> None:
    os.sched_setaffinity(0, {GENERATOR_CORE})
    bench = Bench(Options(parts=(), callgate_path=options.callgate_path))
    async with bench.running(options.contender, Load(options.load)) as (rig, relay):
        await rig.set_calls(relay, options.calls)
        await asyncio.sleep(WARM_UP)
        print(await rig.window(relay, options.seconds), flush=True)
        with tempfile.TemporaryDirectory(prefix="callgate-bench-") as folder:
            raw = Path(folder) / "raw"
            await _record(relay.pid, options, "raw", raw)
            print("\n".join(_own_time(raw.read_text().splitlines())))
        if options.out is not None:
            options.out.mkdir(parents=True, exist_ok=True)
            graph = options.out / f"{options.contender}-{options.load}-{options.calls}.svg"
            await _record(relay.pid, options, "flamegraph", graph)
            print(f"written: {graph}")


async def _record(pid: int, options: argparse.Namespace, kind: str, out: Path) -> None:
    program = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")
    if program is None:
        raise BenchError("py-spy is not installed: pip install -r bench/requirements.txt")
    argv = ["record", "--pid", str(pid), "--duration", str(round(options.seconds)), "--rate", str(SAMPLES_A_SECOND)]
    argv += ["--format", kind, "--output", str(out), *(["--native"] if options.native else [])]
    py_spy = await asyncio.create_subprocess_exec(
        program,
        *argv,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(py_spy.communicate(), options.seconds + PY_SPY_TIMEOUT)
    except BaseException:
        py_spy.kill()
        await py_spy.wait()
        raise
    if py_spy.returncode:
        raise BenchError(f"py-spy failed (it needs root, or ptrace_scope 0): {output.decode().strip()}")


def _own_time(stacks: Sequence[str]) -> list[str]:
    """Return the functions at the top of most stacks. A line is a stack, frames joined by semicolons, then a space
    and its count."""
    own: collections.Counter[str] = collections.Counter()
    for stack in stacks:
        frames, _, count = stack.rpartition(" ")
        own[frames.rpartition(";")[2]] += int(count)
    total = own.total() or 1
    return [f"{count / total:6.1%}  {frame}" for frame, count in own.most_common(SHOWN)]


if __name__ == "__main__":
    sys.exit(main())
