"""A control group that limits a process to a share of a core, to compare two backends with one on the same core."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import Self

from callgate.core.units import SECONDS

from .errors import BenchError

PERIOD_US = 5_000  # short, so that a throttled process causes no audible pause
EMPTY_TIMEOUT = 5 * SECONDS
V2 = Path("/sys/fs/cgroup")
V1 = V2 / "cpu"


class Share:
    """A control group that exists while the context lasts. Its processes must have ended by then. Raises
    `BenchError` without cgroups."""

    def __init__(self, name: str, share: float) -> None:
        self._v2 = "cpu" in _words(V2 / "cgroup.subtree_control")
        self._folder = (V2 if self._v2 else V1) / f"callgate-bench-{os.getpid()}-{name}"
        self._quota_us = int(share * PERIOD_US)

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir()
        except OSError as error:
            raise BenchError(f"a share of a core can't be set ({error}): root and cgroups are required") from error
        if self._v2:
            (self._folder / "cpu.max").write_text(f"{self._quota_us} {PERIOD_US}")
        else:
            (self._folder / "cpu.cfs_period_us").write_text(str(PERIOD_US))
            (self._folder / "cpu.cfs_quota_us").write_text(str(self._quota_us))
        return self

    def __exit__(self, *exc_info: object) -> None:
        deadline = time.monotonic() + EMPTY_TIMEOUT
        while _words(self._folder / "cgroup.procs") and time.monotonic() < deadline:
            time.sleep(0.01)
        self._folder.rmdir()

    def add(self, pid: int) -> None:
        """Put a process into the group, with the children it starts from now on."""
        (self._folder / "cgroup.procs").write_text(str(pid))


def _words(path: Path) -> list[str]:
    with contextlib.suppress(OSError):
        return path.read_text().split()
    return []
