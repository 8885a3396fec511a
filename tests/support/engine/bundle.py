"""The production bundle as a user has it: its files in a folder of their own, and ``docker compose``."""

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
# What somebody who runs the bundle needs of the project.
FILES: Final = (COMPOSE_FILE, "backend", "deploy", "scripts", "pyproject.toml", "requirements*.txt", "README.md",
                ".dockerignore", ".env.example")  # fmt: skip
TIMEOUT: Final = 600.0  # a busy machine is no fault of the bundle
UP_TIMEOUT: Final = 480  # what is not healthy is found so by then, and said
LINES_SHOWN: Final = 40

Done = subprocess.CompletedProcess[str]


def copy_project(folder: Path, *more: str) -> None:
    """Copy what the bundle is made of, and ``more``, without what was generated and without anybody's settings."""
    for pattern in (*FILES, *more):
        for path in ROOT.glob(pattern):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
            else:
                shutil.copy2(path, folder / path.name)


def run(command: Sequence[str | Path], *, environ: Mapping[str, str], cwd: Path, check: bool = True,
        timeout: float = TIMEOUT) -> Done:  # fmt: skip
    """Run a command to its end. Where it fails, and that was not expected, the test shows its last words."""
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
    """One Compose project. ``engine`` is how docker is reached; ``acme_folder`` what `acme.prepare` wrote.

    ``domain``: the name under which Pebble reaches it; without one there is no Pebble.
    """

    name: str
    folder: Path
    engine: Mapping[str, str] = field(repr=False)
    acme_folder: Path
    domain: str | None = None
    more: Mapping[str, str] = field(default_factory=dict)  # for the override file

    @property
    def environ(self) -> dict[str, str]:
        """The environment for ``docker`` and the project's scripts: no setting of the bundle's, all are in .env."""
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
        """Run any command where the bundle is."""
        return run(command, environ=self.environ, cwd=self.folder, check=check, timeout=timeout)

    def up(self, *services: str) -> float:
        """Start it, or some of it, and wait until all is healthy. Returns the seconds that took."""
        began = time.monotonic()
        done = self.compose("up", "--detach", "--wait", "--wait-timeout", str(UP_TIMEOUT), *services, check=False)
        if done.returncode != 0:
            logs = self.compose("logs", "--no-color", "--tail", str(LINES_SHOWN), *services).stdout
            raise AssertionError(f"the bundle did not come up:\n{done.stderr}\n{logs}")
        return time.monotonic() - began

    def start_acme(self) -> None:
        """Start Pebble and the public address: they are there before a server is."""
        self.up("pebble", "public")
        acme.fetch_root(self.acme_folder, self.port("pebble", 15000))

    def remove(self) -> None:
        """Remove its containers, its volumes and its network."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "1")

    def exec(self, service: str, *command: str, check: bool = True) -> Done:
        """Run a command in a container that runs."""
        return self.compose("exec", "-T", service, *command, check=check)

    def logs(self, service: str) -> str:
        """All that the service has written."""
        return self.compose("logs", "--no-color", "--no-log-prefix", service).stdout

    def containers(self, service: str) -> list[str]:
        """The ids of the service's containers, running or not."""
        return self.compose("ps", "--all", "--quiet", service).stdout.split()

    def container(self, service: str) -> str:
        """The id of the service's one container, running or not."""
        ids = self.containers(service)
        assert len(ids) == 1, f"{service} has {len(ids)} containers"
        return ids[0]

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine says of the service's container."""
        (found,) = json.loads(self.run("docker", "inspect", self.container(service)).stdout)
        assert isinstance(found, dict)
        return found

    def port(self, service: str, private: int) -> int:
        """The port of the loopback address that leads to it; another one after each start."""
        return int(self.compose("port", service, str(private)).stdout.strip().rpartition(":")[2])

    def copy_out(self, service: str, path: str, to: Path) -> Path:
        """Copy a file of a volume to this machine."""
        self.run("docker", "cp", f"{self.container(service)}:{path}", to)
        return to


def note(what: str) -> None:
    """Keep a measurement for the end of the report."""
    notes.append(what)


notes: Final[list[str]] = []
