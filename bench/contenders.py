"""The relays that are compared, and how each is started: in its own process, pinned to one core.

The generator and the model share one process on the other core, so that one clock times both hops.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil
from demo.local_program import LOOPBACK, Program, clean_environ, free_ports, port_answers

from .clocks import cpu_seconds

AUTH_TOKEN = "0123456789abcdef0123456789abcdef"
DOMAIN = "callgate.example"
BASE_URL = f"https://{DOMAIN}"

RELAYS = Path(__file__).resolve().parent / "relays"
# The sample's own virtual environment, which lib.sh makes from relays/fastapi_sample.txt.
SAMPLE_PYTHON = Path(sys.prefix) / "fastapi_sample" / "bin" / "python"
CORES = sorted(os.sched_getaffinity(0))
RELAY_CORE = CORES[0]
GENERATOR_CORE = CORES[-1]


@dataclass(frozen=True, slots=True)
class Contender:
    """A relay. With ``webhooks``, a call begins with one, as callgate's does; the others have only the stream."""

    name: str
    about: str
    program: tuple[str, ...] = ()  # for a reference relay: its module in relays/, and options
    python: Path = Path(sys.executable)
    environ: Mapping[str, str] = field(default_factory=dict)
    webhooks: bool = False
    module: str = "callgate"  # of a contender with webhooks

    def argv(self, port: int, model_url: str, *, unbounded: bool = False) -> list[str]:
        """Return the command to start it. ``unbounded`` lifts the limit on what a stream may send."""
        if self.webhooks:
            if unbounded:
                return [sys.executable, "-m", "bench.relays.callgate_unbounded"]
            return [sys.executable, "-m", self.module, "serve", "--env-file", os.devnull]
        module, *options = self.program
        return [str(self.python), "-m", f"bench.relays.{module}", str(port), model_url, *options]


CONTENDERS = {
    contender.name: contender
    for contender in (
        Contender("callgate", "the full product, as `callgate serve` runs it", webhooks=True),
        Contender("callgate-interpreted", "the same, not compiled", environ={"PYTHONPATH": "backend"}, webhooks=True),
        Contender(
            "callgate-ordinary", "the same as the first on the ASGI path", environ={"FAST_LANE": "off"}, webhooks=True
        ),
        Contender(
            "fastapi",
            "FastAPI under uvicorn, as the usual sample is written, in the versions that it is installed with",
            ("fastapi_sample",),
            SAMPLE_PYTHON,
        ),
        Contender(
            "fastapi-lean",
            "the same in today's versions, on uvloop, and without its marks",
            ("fastapi_sample", "--lean"),
        ),
        Contender("quart", "plain Quart under Hypercorn", ("quart_plain",)),
        Contender("floor", "picows on both sides, no framework, no turn-taking", ("floor",)),
    )
}


@dataclass(frozen=True, slots=True)
class Door:
    """Where calls come in: at the relay itself, or at an nginx in front of it. ``tls`` is the client context for it."""

    webhook_url: str
    stream_url: str  # without the path
    tls: ssl.SSLContext | None = None


class Relay:
    """A contender's process, running while the context lasts. ``callgate_path`` is the folder to import callgate
    from; ``core`` is the core to pin it to, or None for any."""

    def __init__(
        self,
        contender: Contender,
        model_url: str,
        *,
        callgate_path: str | None = None,
        environ: Mapping[str, str] | None = None,
        core: int | None = RELAY_CORE,
        unbounded: bool = False,
    ) -> None:
        self._unbounded = unbounded
        self.contender = contender
        self._cores = ",".join(map(str, CORES)) if core is None else str(core)
        (self.port,) = free_ports(1)
        self._model_url = model_url
        self._folder = tempfile.TemporaryDirectory(prefix="callgate-bench-")
        self.log = Path(self._folder.name) / "relay.log"
        self._environ = {**self._settings(callgate_path), **contender.environ, **(environ or {})}

    def _settings(self, callgate_path: str | None) -> dict[str, str]:
        settings = clean_environ()
        path = callgate_path or os.environ.get("PYTHONPATH")
        settings["PYTHONPATH"] = os.pathsep.join(filter(None, (path, str(RELAYS.parents[1]))))
        if self.contender.webhooks:
            settings |= {
                "TWILIO_AUTH_TOKEN": AUTH_TOKEN,
                "BASE_URL": BASE_URL,
                "PORT": str(self.port),
                "OPENAI_REALTIME_URL": self._model_url,
                "MAX_CALLS": "2000",
                "DRAIN_SECONDS": "0",
                "DATA_DIR": str(Path(self._folder.name) / "data"),
            }
        return settings

    async def __aenter__(self) -> Self:
        # If this process is killed, the kernel ends the relay.
        argv = [
            "setpriv",
            "--pdeathsig",
            "KILL",
            "taskset",
            "-c",
            self._cores,
            *self.contender.argv(self.port, self._model_url, unbounded=self._unbounded),
        ]
        self._program = Program(self.contender.name, argv, environ=self._environ, stdout=self.log, stderr=self.log)
        try:
            await asyncio.to_thread(self._program.wait_until, lambda: port_answers(self.port))
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        # In a thread, because this event loop still serves the relay's last calls. Stopping completes even if this task
        # is cancelled.
        await asyncio.shield(asyncio.to_thread(self._stop))

    def _stop(self) -> None:
        try:
            self._program.stop()
        finally:
            self._folder.cleanup()

    def kill(self) -> None:
        """Kill the process instead of stopping it gracefully."""
        self._program.send(signal.SIGKILL)

    @property
    def door(self) -> Door:
        """The relay's own address for calls."""
        return Door(f"http://{LOOPBACK}:{self.port}/incoming-call", f"ws://{LOOPBACK}:{self.port}")

    @property
    def pid(self) -> int:
        """The ID of its process, which has no children."""
        return self._program.pid

    def cpu_seconds(self) -> float:
        """Return the CPU time it has used, in s."""
        return cpu_seconds(self.pid)

    def memory(self) -> int:
        """Return the process's own memory (USS), in bytes."""
        return psutil.Process(self.pid).memory_full_info().uss

    def last_words(self) -> str:
        """Return the end of its log."""
        return "\n".join(f"  {line}" for line in self.log.read_text(errors="replace").splitlines()[-8:])
