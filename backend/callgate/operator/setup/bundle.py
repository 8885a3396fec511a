"""The steps ``cert`` and ``start``, which run the project's scripts, and show their output."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from callgate.core.units import MINUTES

from .refusal import SetupRefused
from .setup import Setup, is_on_own_domain

# The first run pulls and builds images.
CERTIFICATE_DEADLINE: Final = 40 * MINUTES
START_DEADLINE: Final = 40 * MINUTES
ANSWER_DEADLINE: Final = 1 * MINUTES

SERVICES: Final = ("nginx", "certbot", "backend")
TUNNEL_TOKENS: Final = {
    "ngrok": "NGROK_AUTHTOKEN",
    "cloudflared": "CLOUDFLARED_TUNNEL_TOKEN",
}  # the .env setting that each service needs
COMPOSE_FILE: Final = "docker-compose.prod.yml"
START: Final = "scripts/start.sh"
LOGS: Final = f"docker compose -f {COMPOSE_FILE} logs"


class Bundle:
    """The Compose project in a folder. ``override``: one more compose file. ``environ``: returns the environment for
    its commands; by default, this process's."""

    def __init__(
        self, folder: Path, override: str = "", environ: Callable[[], Mapping[str, str] | None] = lambda: None
    ) -> None:
        self._folder, self._environ = folder, environ
        self._compose = ["docker", "compose", "-f", COMPOSE_FILE, *(["-f", override] if override else [])]

    def check_docker(self) -> None:
        """Check that there is a Docker engine with Compose, and that both are new enough. Raises `SetupRefused`."""
        done = self._ask([START, "--check"])
        if done.returncode != 0:
            found, _, do = _last_words(done.stderr).partition(": ")
            raise SetupRefused("Docker", found=found, wanted="an engine that can run the bundle", do=do)

    def issue_certificate(self) -> None:
        """Get a certificate, unless there is a valid one. Raises `SetupRefused`."""
        status, said = self._run(["scripts/issue-cert.sh"], CERTIFICATE_DEADLINE)
        if status:
            raise SetupRefused(
                "The certificate",
                found=f"scripts/issue-cert.sh ended with {status}",
                wanted="a certificate that Twilio trusts",
                do=f"mend this, and run scripts/setup.sh cert start number call: {said or 'it gave no reason'}",
            )

    def start(self, services: Sequence[str] = ()) -> bool:
        """Start these services, or all, and wait until they are healthy.

        Returns whether any container was started or replaced. Raises `SetupRefused`.
        """
        before = self.containers()
        status, said = self._run([START, *services], START_DEADLINE)
        if status:
            raise SetupRefused(
                "The bundle",
                found=f"{START} ended with {status}",
                wanted=f"{', '.join(services or SERVICES)}, all healthy",
                do=f"mend this, and run scripts/setup.sh start number call: {said or f'see {LOGS}'}",
            )
        return self.containers() != before

    def containers(self) -> frozenset[str]:
        """Return the ids of the running containers."""
        done = self._ask([*self._compose, "ps", "--quiet"])
        return frozenset(done.stdout.split())

    def _run(self, command: Sequence[str], deadline: float) -> tuple[int, str]:
        """Run a command that shows its output. Return its status, and the last line of its standard error."""
        try:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
            )
        except OSError as exc:
            raise _not_there(command, exc) from exc
        assert process.stderr is not None
        last = [""]
        reader = threading.Thread(target=_show, args=(process.stderr, last), daemon=True)
        reader.start()
        try:
            status = process.wait(timeout=deadline)
        except subprocess.TimeoutExpired as exc:
            process.kill()
            raise _too_slow(command, deadline) from exc
        reader.join()
        process.stderr.close()
        return status, _last_words(last[0])

    def _ask(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                command,
                cwd=self._folder,
                env=self._environ(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ANSWER_DEADLINE,
            )
        except subprocess.TimeoutExpired as exc:
            raise _too_slow(command, ANSWER_DEADLINE) from exc
        except OSError as exc:
            raise _not_there(command, exc) from exc


def get_certificate(setup: Setup, bundle: Bundle) -> bool:
    """Run the step ``cert``. Returns False, because issue-cert.sh itself says whether it changed anything."""
    setup.terminal.step("certificate")
    config = setup.settings.config()
    if not is_on_own_domain(config):
        setup.terminal.say(f"Calls come to {config.base_url}: the tunnel has the certificate.")
        return False
    bundle.issue_certificate()
    return False


def start_bundle(setup: Setup, bundle: Bundle) -> bool:
    """Run the step ``start``. Returns whether anything was started."""
    services = _services(setup)
    setup.terminal.step(", ".join(services or SERVICES))
    changed = bundle.start(services)
    setup.terminal.say(
        "All services are up and healthy."
        if changed
        else "All services were already up and healthy: nothing was started."
    )
    return changed


def _services(setup: Setup) -> list[str]:
    """Return the services to start, or [] for all. Behind a tunnel there is no nginx, and no certificate."""
    if is_on_own_domain(setup.settings.config()):
        return []
    kept = setup.env_file.read()
    return ["backend", *(service for service, token in TUNNEL_TOKENS.items() if token in kept)]


def _show(stream: IO[str], last: list[str]) -> None:
    """Pass a program's lines on, and keep the last one that is not empty in ``last``."""
    for line in stream:
        sys.stderr.write(line)
        sys.stderr.flush()
        if line.strip():
            last[0] = line


def _last_words(text: str) -> str:
    """Return the last line that is not empty, without the name of the program that wrote it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return re.sub(r"^(keeper|[\w-]+\.sh): ", "", lines[-1]) if lines else ""


def _not_there(command: Sequence[str], exc: OSError) -> SetupRefused:
    return SetupRefused(
        command[0],
        found=f"it can't be run ({exc.strerror})",
        wanted="the project's files as they were released",
        do="check out the project again",
    )


def _too_slow(command: Sequence[str], deadline: float) -> SetupRefused:
    return SetupRefused(
        " ".join(command),
        found=f"it did not finish within {deadline / MINUTES:.0f} min",
        wanted="the command to finish",
        do="see what slows it down (network, disk), and run this again: it continues where it stopped",
    )
