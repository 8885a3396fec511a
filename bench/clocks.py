"""Two Linux clocks that Python 3.11 does not expose: a high-resolution timer, and another process's CPU time."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_libc: Final = ctypes.CDLL(None, use_errno=True)
_CLOCK_MONOTONIC: Final = 1
_NANOSECONDS: Final = 1_000_000_000


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class Metronome:
    """Call a function every ``interval`` seconds (less than one) until stopped. See timerfd_create(2)."""

    def __init__(self, interval: float, tick: Callable[[], None]) -> None:
        self._tick = tick
        self._file = _checked(_libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        each = _Timespec(0, int(interval * _NANOSECONDS))
        _checked(_libc.timerfd_settime(self._file, 0, ctypes.byref(_Itimerspec(each, each)), None))
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._file, self._due)

    def _due(self) -> None:
        os.read(self._file, 8)  # the number of expirations; until it is read, the descriptor stays readable
        self._tick()

    def stop(self) -> None:
        """Stop calling the function. Must be called only once."""
        self._loop.remove_reader(self._file)
        os.close(self._file)


def cpu_seconds(pid: int) -> float:
    """Return a process's CPU time, user and system, in s. /proc counts in hundredths; see clock_getcpuclockid(3)."""
    clock = ctypes.c_int()
    if error := _libc.clock_getcpuclockid(pid, ctypes.byref(clock)):
        raise ProcessLookupError(error, f"process {pid}: {os.strerror(error)}")
    return time.clock_gettime(clock.value)


def busy_seconds() -> float:
    """Return the CPU time that all processes on the machine have used since boot, in s. See proc(5)."""
    user, nice, system = (int(word) for word in Path("/proc/stat").read_text().split()[1:4])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def _checked(result: int) -> int:
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
