"""A subprocess of the siege that communicates in lines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from callgate.core.units import SECONDS

from bench.errors import BenchError

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT = 30 * SECONDS
LONGEST_LINE = 1 << 20


class Process:
    """A running process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._process.pid

    async def line(self, timeout: float) -> str:
        """Return its next line, or "" if it prints none within ``timeout`` seconds or has ended."""
        assert self._process.stdout is not None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                return (await self._process.stdout.readline()).decode().strip()
        return ""

    def tell(self, line: str) -> None:
        """Send it a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())


@contextlib.asynccontextmanager
async def process(module: str, told: str, ready: str) -> AsyncIterator[Process]:
    """Run a module with ``told`` as its argument. Yield it once it has printed ``ready``, and end it with the
    context. Raises `BenchError`. If this process is killed, the kernel ends the module too."""
    path = os.pathsep.join(each for each in sys.path if each)
    child = await asyncio.create_subprocess_exec(
        "setpriv", "--pdeathsig", "KILL", sys.executable, "-m", module, told,
        cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, limit=LONGEST_LINE,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        running = Process(child)
        if await running.line(START_TIMEOUT) != ready:
            raise BenchError(f"{module} did not start")
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
