"""A real PostgreSQL for tests: Debian's programs, run as an unprivileged user, on a socket in a temporary folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from callgate.core.units import SECONDS

TIMEOUT = 30 * SECONDS
POLL = 0.02 * SECONDS

USER = "callgate"
PASSWORD = "a p:ss/word"
PORT = 5432  # only part of the socket's name
OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",  # a test's data need not survive a crash
    "shared_buffers": "16MB",
    "max_connections": "60",
    "log_min_messages": "fatal",
}


class Postgres:
    """A server, on which every test has its own database."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server unless it is running, and wait until it accepts connections."""
        if self._process is not None:
            return
        options = OPTIONS | {"unix_socket_directories": str(self._folder)}
        argv = [program("postgres"), "-D", str(self._folder / "data")]
        argv += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        deadline = time.monotonic() + TIMEOUT
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self._folder, **unprivileged())
            while not self._answers():
                assert time.monotonic() < deadline, self._log.read_text()
                if self._process.poll() is not None:  # a killed server's remains may still be shutting down
                    self._process = subprocess.Popen(argv, stdout=log, stderr=log, cwd=self._folder, **unprivileged())
                time.sleep(POLL)

    def stop(self) -> None:
        """Stop the server at once, with its children."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(TIMEOUT)
            self._process = None

    def kill(self) -> None:
        """Kill the server without notice, with its children."""
        assert self._process is not None
        for pid in (self._process.pid, *self._children()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(TIMEOUT)
        self._process = None

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Freeze the server: it accepts connections and data, but answers nothing."""
        assert self._process is not None
        pids = (self._process.pid, *self._children())
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in reversed(pids):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def new_database(self) -> str:
        """Create an empty database, and return its ``DATABASE_URL``."""
        name = f"calls_{secrets.token_hex(4)}"
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, database: str, password: str = PASSWORD) -> str:
        """Return the ``DATABASE_URL`` of a database of this server."""
        return f"postgresql://{USER}:{quote(password, safe='')}@/{database}?host={quote(str(self._folder), safe='')}"

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the database's owner, and return what psql prints."""
        return subprocess.run(
            [program("psql"), "-h", self._folder, "-p", str(PORT), "-U", USER, "-d", database, "-X", "-A", "-t"],
            env={"PGPASSWORD": PASSWORD, "PATH": os.environ["PATH"]}, input=statement,
            check=True, capture_output=True, text=True, timeout=TIMEOUT,
        ).stdout.strip()  # fmt: skip

    def _answers(self) -> bool:
        argv = [program("pg_isready"), "-q", "-h", self._folder, "-p", str(PORT), "-t", "1"]
        return subprocess.run(argv, timeout=TIMEOUT).returncode == 0

    def _children(self) -> list[int]:
        assert self._process is not None
        pid = self._process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a new, empty server, and remove everything afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="callgate-postgres-"))
    try:
        password = folder / "password"
        password.write_text(PASSWORD)
        if user := unprivileged().get("user"):
            for path in (folder, password):
                os.chown(path, user, -1)
        argv = [program("initdb"), "--no-sync", "-A", "scram-sha-256", "-U", USER, "--pwfile", password, "-E", "UTF8"]
        done = subprocess.run(
            [*argv, "--locale", "C.UTF-8", folder / "data"],
            cwd=folder, capture_output=True, text=True, timeout=TIMEOUT, **unprivileged(),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        server = Postgres(folder)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def program(name: str) -> str:
    """Return the path of one of PostgreSQL's programs, of the newest installed version."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", os.defpath)]))
    assert found, f"PostgreSQL's {name} is not installed: sudo apt-get install -y --no-install-recommends postgresql"
    return found


def unprivileged() -> dict[str, int | list[int]]:
    """Return the user options for `subprocess`. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
