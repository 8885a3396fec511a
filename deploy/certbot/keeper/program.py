"""Runs a program to its end. If the caller is cancelled (SIGTERM), the program and its children are ended first."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

LINES_KEPT: Final = 400
STOP_TIMEOUT: Final = 5.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a program ended. ``output``: the end of what it wrote to standard output and standard error."""

    status: int
    output: str
    timed_out: bool = False


async def run_program(argv: Sequence[str], *, environ: Mapping[str, str], timeout: float) -> Done:
    """Run a program; end it after ``timeout`` seconds. Raises OSError if it can't be started."""
    # A process group of its own, so that its children can be ended with it.
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=environ,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    lines: deque[str] = deque(maxlen=LINES_KEPT)
    reader = asyncio.ensure_future(_read_lines(process, lines))
    timed_out = False
    try:
        async with asyncio.timeout(timeout):
            await process.wait()
            await reader
    except TimeoutError:
        timed_out = True
    finally:
        await _end(process)
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)
    return Done(process.returncode or 0, "\n".join(lines), timed_out)


async def _read_lines(process: asyncio.subprocess.Process, lines: deque[str]) -> None:
    assert process.stdout is not None
    while line := await _read_line(process.stdout):
        lines.append(line.decode(errors="replace").rstrip())


async def _read_line(stream: asyncio.StreamReader) -> bytes:
    try:
        return await stream.readline()
    except ValueError:  # longer than asyncio's limit: that part is dropped
        return b"...\n"


async def _end(process: asyncio.subprocess.Process) -> None:
    for signum in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signum)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), STOP_TIMEOUT)
