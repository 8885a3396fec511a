"""The published pair that nginx reads: CERT_PUBLISHED/<name>/current. `hooks/publish` writes it, and `swap` here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509

from keeper.acme.certbot import HERE
from keeper.errors import PublishError
from keeper.pairs import certificate
from keeper.pairs.certificate import Certificate, pem
from keeper.program import run_program

HOOK: Final = HERE / "hooks" / "publish"
TIMEOUT: Final = 30.0


@dataclass(frozen=True, slots=True)
class Published:
    """The published pairs of one name. ``environ``: passed to the hook."""

    folder: Path
    name: str
    environ: Mapping[str, str]

    @property
    def _home(self) -> Path:
        return self.folder / self.name

    @property
    def current(self) -> Path:
        """The folder from which nginx reads."""
        return self._home / "current"

    def certificate(self) -> Certificate | None:
        """Return the published certificate; None if nginx can't serve what is published."""
        return None if certificate.flaw(self.current) else certificate.read(self.current / "fullchain.pem")

    def holds(self, fullchain: bytes, privkey: bytes) -> bool:
        """Whether exactly this pair is published."""
        try:
            return (self.current / "fullchain.pem").read_bytes() == fullchain and (
                self.current / "privkey.pem"
            ).read_bytes() == privkey
        except OSError:
            return False

    def issuer_pem(self) -> bytes:
        """Return the chain's last certificate, PEM."""
        return pem(x509.load_pem_x509_certificates((self.current / "fullchain.pem").read_bytes())[-1])

    async def publish(self, lineage: Path, *, names: Sequence[str] = (), staging: bool = False) -> None:
        """Check the pair in a folder, and make it the current one. On `PublishError`, nothing has been changed."""
        environ = {
            **self.environ,
            "RENEWED_LINEAGE": str(lineage),
            "RENEWED_DOMAINS": " ".join(names or [self.name]),
            "CERT_PUBLISHED_NAME": self.name,
            "CERT_PUBLISHED": str(self.folder),
            **({"CERT_STAGING": "yes"} if staging else {}),
        }
        done = await run_program([str(HOOK)], environ=environ, timeout=TIMEOUT)
        if done.status or done.timed_out:
            said = [line.removeprefix("publish: ") for line in done.output.splitlines() if line.startswith("publish: ")]
            raise PublishError(said[-1] if said else done.output.strip() or "hooks/publish failed without a message")

    def swap(self, now: float, domain: str = "") -> Certificate:
        """Make the other kept pair, if it is good for ``domain`` (the name), the current one, and return its
        certificate. Raises `PublishError`."""
        current, domain = self.current, domain or self.name
        if not current.is_symlink():
            raise PublishError(f"nothing is published for {self.name}: there is no way back")
        others = [f for f in self._home.iterdir() if self._is_pair(f) and f.name != current.readlink().name]
        if len(others) != 1:
            raise PublishError(f"{self._home} holds no other pair to go back to: only one was published so far")
        found = certificate.read(others[0] / "fullchain.pem")
        if not found or not found.good_for(domain, now):
            raise PublishError(
                f"the previous pair ({others[0].name}) is expired or not for {domain}: it is not published"
            )
        new = self._home / ".current"
        new.unlink(missing_ok=True)
        new.symlink_to(others[0].name)
        os.replace(new, current)
        return found

    @staticmethod
    def _is_pair(folder: Path) -> bool:
        return not folder.is_symlink() and not folder.name.startswith(".") and (folder / "fullchain.pem").is_file()
