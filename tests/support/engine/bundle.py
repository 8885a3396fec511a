"""The production bundle as a user has it: its files in their own folder, and ``docker compose``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from support.engine import acme
from support.project import ROOT

HERE: Final = ROOT / "tests/engine"
COMPOSE_FILE: Final = "docker-compose.prod.yml"
# The project's files that a user of the bundle needs.
FILES: Final = (COMPOSE_FILE, "backend", "deploy", "scripts", "pyproject.toml", "requirements*.txt", "README.md",
                ".dockerignore", ".env.example")  # fmt: skip
TIMEOUT: Final = 600.0  # generous, because a busy machine is not the bundle's fault
UP_TIMEOUT: Final = 480  # after that, unhealthy containers are reported
LINES_SHOWN: Final = 40

Done = subprocess.CompletedProcess[str]


def copy_project(folder: Path, *more: str) -> None:
    """Copy the bundle's files, and ``more``, without generated files and without anyone's settings."""
    for pattern in (*FILES, *more):
        for path in ROOT.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
            else:
                shutil.copy2(path, folder / path.name)


def run(command: Sequence[str | Path], *, environ: Mapping[str, str], cwd: Path, check: bool = True,
        timeout: float = TIMEOUT) -> Done:  # fmt: skip
    """Run a command to completion. If it fails unexpectedly, raise an error with the end of its output."""
    done = subprocess.run(
        [str(word) for word in command], env=dict(environ), cwd=cwd, timeout=timeout,
        stdin=subprocess.DEVNULL, capture_output=True, text=True,
    )  # fmt: skip
    if check and done.returncode != 0:
        last_words = "\n".join((done.stdout + done.stderr).splitlines()[-LINES_SHOWN:])
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{last_words}")
    return done


@dataclass(frozen=True, slots=True)
class Bundle:
    """One Compose project. ``engine`` is the environment for reaching docker; ``acme_folder`` is what `acme.prepare`
    wrote.

    ``domain`` is the name under which Pebble reaches it. Without one, there is no Pebble.
    """

    name: str
    folder: Path
    engine: Mapping[str, str] = field(repr=False)
    acme_folder: Path
    domain: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)  # for the override file

    @property
    def environ(self) -> dict[str, str]:
        """The environment for ``docker`` and the project's scripts, without the bundle's settings, which are all in
        .env."""
        names = ("HOME", "PATH", "LANG") + (() if self.engine else ("DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT"))
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return {
            **kept,
            **self.engine,
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_PROFILES": "acme" if self.domain else "",
            "COMPOSE_PROGRESS": "plain",
            "CALLGATE_COMPOSE_OVERRIDE": str(HERE / "override.yml"),
            "TEST_ACME_FOLDER": str(self.acme_folder),
            **({"TEST_ACME_SERVER": acme.DIRECTORY, "TEST_DOMAIN": self.domain} if self.domain else {}),
            **self.more,
        }

    def compose(self, *words: str, check: bool = True, timeout: float = TIMEOUT) -> Done:
        """Run ``docker compose`` on the bundle."""
        files = ("-f", COMPOSE_FILE, "-f", self.environ["CALLGATE_COMPOSE_OVERRIDE"])
        return self.run("docker", "compose", *files, *words, check=check, timeout=timeout)

    def run(self, *command: str | Path, check: bool = True, timeout: float = TIMEOUT) -> Done:
        """Run any command in the bundle's folder."""
        return run(command, environ=self.environ, cwd=self.folder, check=check, timeout=timeout)

    def up(self, *services: str) -> float:
        """Start the bundle, or some services, and wait until all are healthy. Return the seconds that took."""
        began = time.monotonic()
        done = self.compose("up", "--detach", "--wait", "--wait-timeout", str(UP_TIMEOUT), *services, check=False)
        if done.returncode != 0:
            logs = self.compose("logs", "--no-color", "--tail", str(LINES_SHOWN), *services).stdout
            raise AssertionError(f"the bundle did not come up:\n{done.stderr}\n{logs}")
        return time.monotonic() - began

    def start_acme(self) -> None:
        """Start Pebble and the public address, which exist before a server does."""
        self.up("pebble", "public")
        acme.fetch_root(self.acme_folder, self.port("pebble", 15000))

    def remove(self) -> None:
        """Remove its containers, its volumes and its network."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "1")

    def exec(self, service: str, *command: str, check: bool = True) -> Done:
        """Run a command in a running container."""
        return self.compose("exec", "-T", service, *command, check=check)

    def logs(self, service: str) -> str:
        """Return everything that the service has logged."""
        return self.compose("logs", "--no-color", "--no-log-prefix", service).stdout

    def containers(self, service: str) -> list[str]:
        """Return the IDs of the service's containers, running or not."""
        return self.compose("ps", "--all", "--quiet", service).stdout.split()

    def container(self, service: str) -> str:
        """Return the ID of the service's only container, running or not."""
        ids = self.containers(service)
        assert len(ids) == 1, f"{service} has {len(ids)} containers"
        return ids[0]

    def inspect(self, service: str) -> dict[str, Any]:
        """Return the engine's description of the service's container."""
        (found,) = json.loads(self.run("docker", "inspect", self.container(service)).stdout)
        assert isinstance(found, dict)
        return found

    def port(self, service: str, private: int) -> int:
        """Return the loopback port that leads to it, which changes at each start."""
        return int(self.compose("port", service, str(private)).stdout.strip().rpartition(":")[2])

    def copy_out(self, service: str, path: str, to: Path) -> Path:
        """Copy a file from a volume to this machine."""
        self.run("docker", "cp", f"{self.container(service)}:{path}", to)
        return to


def note(what: str) -> None:
    """Keep a measurement for the end of the report."""
    notes.append(what)


notes: Final[list[str]] = []
