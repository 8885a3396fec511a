"""The steps ``cert`` and ``start``, which run the project's script and ``docker compose``, and show their output."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

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
        """Check that there is a Docker engine, with Compose. Raises `SetupRefused`."""
        install = "install Docker Engine with its Compose plugin (docs.docker.com/engine/install)"
        if self._status("docker", "compose", "version") != 0:
            raise SetupRefused("docker", found="Docker with Compose is not installed", wanted="Compose v2", do=install)
        if self._status("docker", "info") != 0:
            raise SetupRefused(
                "docker",
                found="the Docker engine does not answer",
                wanted="a running engine that this user may use",
                do="start it (systemctl start docker), or run this with sudo",
            )

    def issue_certificate(self) -> None:
        """Get a certificate, unless there is a valid one. Raises `SetupRefused`."""
        if status := self._run(["scripts/issue-cert.sh"], CERTIFICATE_DEADLINE):
            raise SetupRefused(
                "The certificate",
                found=f"scripts/issue-cert.sh ended with {status}; the reason is shown above",
                wanted="a certificate that Twilio trusts",
                do="fix what it complains about, and run scripts/setup.sh cert start number call",
            )

    def start(self, services: Sequence[str] = ()) -> bool:
        """Start these services, or all, and wait until they are healthy.

        Returns whether any container was started or replaced. Raises `SetupRefused`.
        """
        before = self.containers()
        if status := self._run([*self._compose, "up", "-d", "--wait", *services], START_DEADLINE):
            raise SetupRefused(
                "The bundle",
                found=f"docker compose up ended with {status}; its output is shown above",
                wanted=f"{', '.join(services or SERVICES)}, all healthy",
                do=f"see why: {LOGS}; if another program uses a port: ss -ltnp 'sport = :443'",
            )
        return self.containers() != before

    def containers(self) -> frozenset[str]:
        """Return the ids of the running containers."""
        done = self._ask([*self._compose, "ps", "--quiet"])
        return frozenset(done.stdout.split())

    def _run(self, command: Sequence[str], deadline: float) -> int:
        try:
            return subprocess.run(
                command, cwd=self._folder, env=self._environ(), stdin=subprocess.DEVNULL, timeout=deadline
            ).returncode
        except subprocess.TimeoutExpired as exc:
            raise _too_slow(command, deadline) from exc
        except OSError as exc:
            raise SetupRefused(
                command[0],
                found=f"it can't be run ({exc.strerror})",
                wanted="the project's files as they were released",
                do="check out the project again",
            ) from exc

    def _status(self, *command: str) -> int:
        try:
            return self._ask(command).returncode
        except OSError:
            return 127

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


def _too_slow(command: Sequence[str], deadline: float) -> SetupRefused:
    return SetupRefused(
        " ".join(command),
        found=f"it did not finish within {deadline / MINUTES:.0f} min",
        wanted="the command to finish",
        do="see what slows it down (network, disk), and run this again: it continues where it stopped",
    )
