"""The keeper next to the tests' edge, run as in its container: a process configured by its environment."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demo.local_edge import DEPLOY, LOOPBACK, LocalEdge
from demo.local_program import clean_environ, find_program

from support.project import ROOT

TIMEOUT = 120.0


@contextmanager
def edge_with_authority(domain: str = "callgate.example", **options: Any) -> Iterator[LocalEdge]:
    """Yield an edge with an ACME server but no certificate, and no backend."""
    with LocalEdge(domain, **options) as edge:
        edge.start_nginx(1)
        edge.start_acme()
        yield edge


def environ(edge: LocalEdge, **changes: str) -> dict[str, str]:
    """Return the keeper's settings for an edge, overridden by ``changes``."""
    return {
        **clean_environ(),
        "PYTHONPATH": str(DEPLOY / "certbot"),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "error",
        "DOMAIN": edge.domain,
        "ACME_SERVER": edge.acme_directory or "https://127.0.0.1:1/dir",
        "ACME_CA_BUNDLE": str(edge.state / "acme" / "cert.pem"),
        "ACME_WEBROOT": str(edge.webroot),
        "CERTBOT": find_program("certbot"),
        "CERTBOT_STATE": str(edge.state / "certbot"),
        "EDGE_HTTPS": f"{LOOPBACK}:{edge.https_port}",
        "REHEARSAL": str(edge.state / "rehearsal"),
        "KEEPER_RESOLVER": edge.dns or "127.0.0.1:1",
        "KEEPER_HTTP_PORT": str(edge.http_port),
        **edge.publish_environ,
        **changes,
    }


def keeper(edge: LocalEdge, *argv: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run one of the keeper's commands to completion."""
    return subprocess.run(
        [sys.executable, "-m", "keeper", *argv],
        env=environ(edge, **changes),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


def one_turn(edge: LocalEdge, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run what the service does when it starts: its first turn."""
    path = ":".join(str(ROOT / part) for part in ("deploy/certbot", "tests", "scripts", "backend"))
    return subprocess.run(
        [sys.executable, "-m", "support.edge.certificates.one_turn"],
        env={**environ(edge, **changes), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )


class Service:
    """``keeper run`` in the background."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self._log = log

    def said(self) -> str:
        return self._log.read_text()

    def stop(self) -> int:
        """Stop it as a container engine does, and return its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=15.0)


@contextmanager
def running(edge: LocalEdge, **changes: str) -> Iterator[Service]:
    """Start ``keeper run``. It ends with the context."""
    log = edge.logs / "keeper.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "keeper", "run"],
            env=environ(edge, **changes),
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield Service(process, log)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=15.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def read_state(folder: Path, domain: str) -> dict[str, Any]:
    """Return the keeper's saved state from CERTBOT_STATE."""
    state: dict[str, Any] = json.loads((folder / "keeper" / f"{domain}.json").read_text())
    return state


def files_below(folder: Path, *, but: Collection[str] = ()) -> dict[str, bytes | str]:
    """Return all files and links below a folder by their relative names, except in folders named in ``but``."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in folder.rglob("*")
        if (path.is_symlink() or path.is_file()) and path.relative_to(folder).parts[0] not in but
    }
