"""The steps ``cert`` and ``start``: the project's own script, and ``docker compose``, whose words are shown."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from callgate.core.units import MINUTES

from .refusal import SetupRefused
from .setup import Setup, is_on_own_domain

# The first time, images are fetched and built.
CERTIFICATE_DEADLINE: Final = 40 * MINUTES
START_DEADLINE: Final = 40 * MINUTES
ANSWER_DEADLINE: Final = 1 * MINUTES

SERVICES: Final = ("nginx", "certbot", "backend")
TUNNEL_TOKENS: Final = {
    "ngrok": "NGROK_AUTHTOKEN",
    "cloudflared": "CLOUDFLARED_TUNNEL_TOKEN",
}  # what each needs in .env
COMPOSE_FILE: Final = "docker-compose.prod.yml"
LOGS: Final = f"docker compose -f {COMPOSE_FILE} logs"


class Bundle:
    """The Compose project in a folder. ``override``: one more compose file."""

    def __init__(self, folder: Path, override: str = "") -> None:
        self._folder = folder
        self._compose = ["docker", "compose", "-f", COMPOSE_FILE, *(["-f", override] if override else [])]

    def check_docker(self) -> None:
        """There is an engine, and Compose. Raises `SetupRefused`."""
        install = "install Docker Engine with its compose plugin (docs.docker.com/engine/install)"
        if self._status("docker", "compose", "version") != 0:
            raise SetupRefused("docker", found="no docker with compose", wanted="Compose v2", do=install)
        if self._status("docker", "info") != 0:
            raise SetupRefused(
                "docker",
                found="the docker engine does not answer",
                wanted="an engine that this user may use",
                do="start it (systemctl start docker), or run this with sudo",
            )

    def issue_certificate(self) -> None:
        """Have the certificate, a new one or the good one that is there. Raises `SetupRefused`."""
        if status := self._run(["scripts/issue-cert.sh"], CERTIFICATE_DEADLINE):
            raise SetupRefused(
                "The certificate",
                found=f"scripts/issue-cert.sh ended with {status}; what was wrong stands above",
                wanted="a certificate that Twilio trusts",
                do="mend that, and run scripts/setup.sh cert start number call",
            )

    def start(self, services: Sequence[str] = ()) -> bool:
        """Have these, or all, up and healthy. Whether any container is another than before. Raises `SetupRefused`."""
        before = self.containers()
        if status := self._run([*self._compose, "up", "-d", "--wait", *services], START_DEADLINE):
            raise SetupRefused(
                "The bundle",
                found=f"docker compose up ended with {status}; its last words stand above",
                wanted=f"{', '.join(services or SERVICES)}, healthy",
                do=f"{LOGS} says why; a port that is taken is another program's: ss -ltnp 'sport = :443'",
            )
        return self.containers() != before

    def containers(self) -> frozenset[str]:
        """The ids of those that run."""
        done = self._ask([*self._compose, "ps", "--quiet"])
        return frozenset(done.stdout.split())

    def _run(self, command: Sequence[str], deadline: float) -> int:
        try:
            return subprocess.run(command, cwd=self._folder, stdin=subprocess.DEVNULL, timeout=deadline).returncode
        except subprocess.TimeoutExpired as exc:
            raise _too_slow(command, deadline) from exc
        except OSError as exc:
            raise SetupRefused(
                command[0],
                found=f"it can't be run ({exc.strerror})",
                wanted="the project as it is",
                do="check it out anew",
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
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=ANSWER_DEADLINE,
            )
        except subprocess.TimeoutExpired as exc:
            raise _too_slow(command, ANSWER_DEADLINE) from exc


def get_certificate(setup: Setup, bundle: Bundle) -> bool:
    """The step ``cert``. issue-cert.sh itself says whether there was anything to do."""
    setup.terminal.step("certificate")
    config = setup.settings.config()
    if not is_on_own_domain(config):
        setup.terminal.say(f"Calls come to {config.base_url}: its certificate is the tunnel's.")
        return False
    bundle.issue_certificate()
    return False


def start_bundle(setup: Setup, bundle: Bundle) -> bool:
    """The step ``start``. Whether anything was started."""
    services = _services(setup)
    setup.terminal.step(", ".join(services or SERVICES))
    changed = bundle.start(services)
    setup.terminal.say("All is up and healthy." if changed else "All was up and healthy: nothing was started.")
    return changed


def _services(setup: Setup) -> list[str]:
    """Those that are wanted, where it is not all: behind a tunnel there is no nginx, and no certificate."""
    if is_on_own_domain(setup.settings.config()):
        return []
    kept = setup.env_file.read()
    return ["backend", *(service for service, token in TUNNEL_TOKENS.items() if token in kept)]


def _too_slow(command: Sequence[str], deadline: float) -> SetupRefused:
    return SetupRefused(
        " ".join(command),
        found=f"it has not ended within {deadline / MINUTES:.0f} min",
        wanted="its end",
        do="see what holds it up (network, disk), and run this again: it goes on where it was",
    )
