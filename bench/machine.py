"""A description of the machine and the software that produced the figures."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

from .contenders import CORES, GENERATOR_CORE, RELAY_CORE, RELAYS

PACKAGES = ("quart", "hypercorn", "uvloop", "picows", "websockets", "fastapi", "uvicorn")
GIT_TIMEOUT = 10.0
# The kernel's PM QoS: while it is open, no core sleeps so deeply that waking takes longer than the value written.
CPU_LATENCY = Path("/dev/cpu_dma_latency")
NO_LATENCY = bytes(4)  # microseconds, 32 bits


@contextlib.contextmanager
def kept_awake() -> Iterator[None]:
    """Keep idle cores awake, if permitted, so that no process is billed for waking them."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(CPU_LATENCY.open("wb", buffering=0)).write(NO_LATENCY)
        yield


def describe() -> list[str]:
    """Return one line for each fact."""
    versions = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    return [
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC, revision {_revision()}",
        f"{_cpu()}, {len(CORES)} cores; Linux {platform.release()}, connections {_tracked()}",
        f"cores {_awake()}",
        f"Python {platform.python_version()}, {versions}; in the usual sample's environment: {_sample_versions()}",
        f"relay on core {RELAY_CORE}, generator, model and nginx on core {GENERATOR_CORE}"
        + (" (the same core: the figures below are not comparable)" if RELAY_CORE == GENERATOR_CORE else ""),
    ]


def _sample_versions() -> str:
    named = (RELAYS / "fastapi_sample.in").read_text().splitlines()
    return ", ".join(line.replace("==", " ") for line in named if line and not line.startswith("#"))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _tracked() -> str:
    try:
        tracked = int(Path("/proc/sys/net/netfilter/nf_conntrack_count").read_text())
    except OSError:  # the kernel does not have conntrack
        tracked = 0
    return "tracked (conntrack)" if tracked else "not tracked"


def _awake() -> str:
    if os.access(CPU_LATENCY, os.W_OK):
        return "kept awake where the tables say so"
    return f"not kept awake, whatever the tables say: {CPU_LATENCY} can't be written"


def _revision() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=GIT_TIMEOUT,
        )
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"
