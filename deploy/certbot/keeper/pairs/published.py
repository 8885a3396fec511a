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

    def certificate(self) -> Certificate | None:
        """Return the published certificate; None if nginx can't serve what is published."""
        current = self._home / "current"
        return None if certificate.flaw(current) else certificate.read(current / "fullchain.pem")

    def holds(self, fullchain: bytes, privkey: bytes) -> bool:
        """Whether exactly this pair is published."""
        current = self._home / "current"
        try:
            return (current / "fullchain.pem").read_bytes() == fullchain and (
                current / "privkey.pem"
            ).read_bytes() == privkey
        except OSError:
            return False

    def issuer_pem(self) -> bytes:
        """Return the chain's last certificate, PEM."""
        return pem(x509.load_pem_x509_certificates((self._home / "current" / "fullchain.pem").read_bytes())[-1])

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

    def swap(self, now: float) -> Certificate:
        """Make the other kept pair the current one, and return its certificate. Raises `PublishError`."""
        current = self._home / "current"
        if not current.is_symlink():
            raise PublishError(f"nothing is published for {self.name}: there is no way back")
        others = [f for f in self._home.iterdir() if self._is_pair(f) and f.name != current.readlink().name]
        if len(others) != 1:
            raise PublishError(f"{self._home} holds no other pair to go back to: only one was published so far")
        found = certificate.read(others[0] / "fullchain.pem")
        if not found or not found.good_for(self.name, now):
            raise PublishError(
                f"the previous pair ({others[0].name}) is expired or not for {self.name}: it is not published"
            )
        new = self._home / ".current"
        new.unlink(missing_ok=True)
        new.symlink_to(others[0].name)
        os.replace(new, current)
        return found

    @staticmethod
    def _is_pair(folder: Path) -> bool:
        return not folder.is_symlink() and not folder.name.startswith(".") and (folder / "fullchain.pem").is_file()
