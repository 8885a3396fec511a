"""``callgate serve`` as its own process, with a test's settings and no others."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path


class Backend:
    """A serving process. ``log`` is what it has written so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""

    async def reads(self, pattern: str) -> re.Match[str]:
        """Wait until a line of the log matches."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            while not (found := re.search(pattern, self.log)):
                line = await self.process.stderr.readline()
                assert line, f"it ended without {pattern!r}:\n{self.log}"
                self.log += line.decode()
        return found

    async def ends(self) -> int:
        """Wait for the process to end, and return its exit code."""
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            self.log += (await self.process.stderr.read()).decode()
            return await self.process.wait()


@contextlib.asynccontextmanager
async def backend(folder: Path, *, stderr: int = asyncio.subprocess.PIPE, **settings: str) -> AsyncIterator[Backend]:
    """Run ``callgate serve`` in an empty folder with only these settings. ``stderr`` is where its log goes, by
    default to `Backend.log`."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "callgate", "serve",
        cwd=folder, env={"PATH": os.environ["PATH"], **settings},
        stdin=asyncio.subprocess.DEVNULL, stderr=stderr,
    )  # fmt: skip
    try:
        yield Backend(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()
