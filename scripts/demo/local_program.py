"""Child processes with a log, and free ports, for `local_edge` and the demo."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from callgate.core.units import SECONDS
from callgate.errors import CallgateError

START_TIMEOUT: Final = 60 * SECONDS  # the first start of a Python program compiles all its imports
STOP_TIMEOUT: Final = 5 * SECONDS
POLL_INTERVAL: Final = 0.02 * SECONDS
ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

LOOPBACK: Final = "127.0.0.1"
SBIN: Final = "/usr/local/sbin:/usr/sbin:/sbin"
PACKAGES: Final = {
    "nginx": "nginx",
    "openssl": "openssl",
    "pebble": "pebble",
    "pebble-challtestsrv": "pebble",
    "knotd": "knot",
}


class EdgeError(CallgateError):
    """A part of the edge did not start, ended unexpectedly, or failed."""


def find_program(name: str) -> str:
    """Return the path of a program. The folder of this Python comes first (certbot); sbin folders are searched too."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath), SBIN]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        package = PACKAGES.get(name)
        how = f"apt-get install --no-install-recommends {package}" if package else "pip install -r requirements-dev.txt"
        raise EdgeError(f"the program {name} is not installed: {how}")
    return found


def clean_environ() -> dict[str, str]:
    """Return an environment without the settings of a real installation, and without a proxy."""
    path = os.environ.get("PATH", os.defpath)
    return {"PATH": f"{path}:{SBIN}", "LANG": "C.UTF-8", "TMPDIR": tempfile.gettempdir()}


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback address that were free a moment ago, for TCP and for UDP."""
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            tcp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            tcp.bind((LOOPBACK, 0))
            port = tcp.getsockname()[1]
            with contextlib.suppress(OSError):  # the UDP port is taken: try the next one
                udp.bind((LOOPBACK, port))
                ports.append(port)
        return ports


def port_answers(port: int) -> bool:
    """Whether something accepts connections on a port of the loopback address."""
    try:
        socket.create_connection((LOOPBACK, port), timeout=1 * SECONDS).close()
    except OSError:
        return False
    return True


class Program:
    """A child process whose output goes to a file. When ``stop`` returns, it has ended."""

    def __init__(
        self, name: str, argv: Sequence[str], *, environ: Mapping[str, str], stdout: Path, stderr: Path
    ) -> None:
        self.name: Final = name
        self.log: Final = stderr
        # In its own session, so that Ctrl-C at the terminal reaches only us, and we stop everything in order.
        process: subprocess.Popen[bytes] | None = None
        try:
            with stdout.open("ab") as out, stderr.open("ab") as err, _uninterrupted():
                process = subprocess.Popen(
                    argv,
                    env=environ,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    preexec_fn=_unblock,  # a child inherits which signals are blocked
                )
        except BaseException:  # of the handler of a signal that came meanwhile: nobody will have this object
            if process is not None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(STOP_TIMEOUT)
            raise
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until the program is ready; raise `EdgeError`, with the end of its log, if it ends or takes too long."""
        deadline = time.monotonic() + START_TIMEOUT
        while not ready() or not self.running:
            if not self.running:
                raise self._error(f"ended with status {self._process.returncode}")
            if time.monotonic() > deadline:
                raise self._error(f"is not ready after {START_TIMEOUT:.0f} s")
            time.sleep(POLL_INTERVAL)

    def wait_done(self, timeout: float) -> None:
        """Wait until the program is done; raise `EdgeError`, with the end of its log, if it fails or takes too long."""
        try:
            status = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise self._error(f"is not done after {timeout:.0f} s") from error
        if status:
            raise self._error(f"ended with status {status}")

    def _error(self, what: str) -> EdgeError:
        return EdgeError(f"{self.name} {what}:\n{last_lines(self.log)}")

    def send(self, signum: signal.Signals) -> None:
        """Send a signal to the program, but not to its children."""
        self._process.send_signal(signum)

    def stop(self) -> None:
        """End the program and its children, and kill those that do not end when asked. May be called again."""
        if self._process.returncode is not None:
            return
        os.killpg(self.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_TIMEOUT)
        deadline = time.monotonic() + STOP_TIMEOUT
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait(STOP_TIMEOUT)
            while time.monotonic() < deadline:  # its children are gone as soon as there is no such group
                os.killpg(self.pid, 0)
                time.sleep(POLL_INTERVAL)
        self._process.wait(STOP_TIMEOUT)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put off signals that end this process: one that came while a program starts would leave it behind, running."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)


def last_lines(log: Path, count: int = 15) -> str:
    """Return the end of a log file."""
    return "\n".join(f"  {line}" for line in log.read_text(errors="replace").splitlines()[-count:])
