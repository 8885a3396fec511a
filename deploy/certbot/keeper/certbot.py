"""Runs certbot, through `issue` and `certbot renew`, and reads its folders: CERTBOT_STATE/{config,work,logs}."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from keeper import certificate
from keeper.acme_errors import Diagnosis, diagnose
from keeper.certificate import Certificate
from keeper.errors import IssueError
from keeper.ladder import DAYS, HOURS
from keeper.program import Done, run_program
from keeper.settings import Settings

HERE: Final = Path(__file__).resolve().parent.parent
TIMEOUT: Final = 600.0
# certbot repeats a request whose nonce was refused only once, and then gives up; another run counts against no limit.
BAD_NONCE_TRIES: Final = 3
LOG_READ: Final = 1_000_000

#: "5 per exact set of names in 7 days": https://letsencrypt.org/docs/rate-limits/
WEEKLY_LIMIT: Final = 5
WEEK: Final = 7 * DAYS
# Let's Encrypt backdates certificates by an hour.
BACKDATED: Final = 1 * HOURS


class Certbot:
    """certbot for one certificate. Its first host name is also its name in certbot's folders."""

    def __init__(
        self, settings: Settings, names: Sequence[str], *, state: Path | None = None, staging: bool = False
    ) -> None:
        self._settings = settings
        self._names = tuple(names)
        self._state = state or settings.state
        self._config = self._state / "config"
        self._environ = {
            **settings.passed_on,
            **({"REQUESTS_CA_BUNDLE": str(settings.ca_bundle)} if settings.ca_bundle else {}),
            **({"CERT_STAGING": "yes"} if staging else {}),
            "ACME_WEBROOT": str(settings.webroot),
            "CERTBOT": settings.certbot,
            "CERTBOT_STATE": str(self._state),
            "CERT_PUBLISHED": str(settings.published),
        }

    # certbot's folders.

    @property
    def names(self) -> tuple[str, ...]:
        """The host names of the certificate."""
        return self._names

    @property
    def lineage(self) -> Path:
        """The folder of the newest certificate and its key."""
        return self._config / "live" / self._names[0]

    def certificate(self) -> Certificate | None:
        """Return the newest certificate; None if there is none."""
        return certificate.read(self.lineage / "fullchain.pem")

    def server(self) -> str:
        """Return the directory URL of the authority that issued the certificate; empty if there is none."""
        try:
            remembered = self._renewal_file.read_text()
        except OSError:
            return ""
        found = re.search(r"^server = (\S+)$", remembered, re.MULTILINE)
        return found[1] if found else ""

    @property
    def _renewal_file(self) -> Path:
        return self._config / "renewal" / f"{self._names[0]}.conf"

    def issued_lately(self, now: float) -> list[float]:
        """Return when certificates of exactly these names were issued in the week before ``now``, oldest first."""
        # Include the folders that were set aside: their certificates were issued too.
        archives = (self._config / "archive").glob(f"{self._names[0]}*/cert*.pem")
        found = [certificate.read(file) for file in archives]
        times = [c.not_before.timestamp() + BACKDATED for c in found if c and c.names == frozenset(self._names)]
        return sorted(at for at in times if at > now - WEEK)

    def set_aside_half_written(self) -> list[Path]:
        """Rename files that a killed certbot left half-written, because the next one would fail on them.

        certbot creates the file in `renewal` first and fills it last; while it is empty, certbot does not work.
        """
        if self.server() and self.certificate():
            return []
        found = [self._renewal_file, self._config / "live" / self._names[0], self._config / "archive" / self._names[0]]
        aside = []
        for path in found:
            if path.exists() or path.is_symlink():
                aside.append(path.with_name(f"{path.name}.half-written-{time.time_ns()}"))
                path.rename(aside[-1])
        return aside

    # Running certbot. All methods raise IssueError.

    async def issue(self, *, server: str, email: str, profile: str, force: bool) -> None:
        """Get a certificate, which the hook publishes. One that is not due is kept, unless ``force``."""
        others = [word for name in self._names[1:] for word in ("--domain", name)]
        options = [*others, *_profile(profile), *(["--force-renewal"] if force else [])]
        environ = {"DOMAIN": self._names[0], "ACME_EMAIL": email, "ACME_SERVER": server}
        await self._run([str(HERE / "issue"), *options], environ)

    async def renew(self, *, profile: str) -> None:
        """Have certbot renew the certificate if it is due or the authority asks for it (ARI, RFC 9773)."""
        folders = [f"--{name}-dir={self._state / name}" for name in ("config", "work", "logs")]
        options = [*folders, "--cert-name", self._names[0], "--non-interactive", "--no-random-sleep-on-renew"]
        await self._run([self._settings.certbot, "renew", *options, *_profile(profile)], {})

    async def _run(self, argv: Sequence[str], environ: Mapping[str, str]) -> None:
        for attempt in range(1, BAD_NONCE_TRIES + 1):
            self._state.mkdir(parents=True, exist_ok=True)
            try:
                done = await run_program(argv, environ={**self._environ, **environ}, timeout=TIMEOUT)
            except OSError as error:
                raise IssueError(f"certbot can't be started: {error}") from error
            if done.status == 0 and not done.timed_out:
                return
            diagnosis = self._diagnose(done)
            if not diagnosis.is_bad_nonce or attempt == BAD_NONCE_TRIES:
                raise IssueError(str(diagnosis), diagnosis.retry_at)

    def _diagnose(self, done: Done) -> Diagnosis:
        if done.timed_out:
            return Diagnosis(f"certbot did not finish within {TIMEOUT:.0f} s", "the keeper will retry")
        return diagnose(done.output, self._log(), time.time())

    def _log(self) -> str:
        try:
            return (self._state / "logs" / "letsencrypt.log").read_text(errors="replace")[-LOG_READ:]
        except OSError:
            return ""


def _profile(profile: str) -> list[str]:
    return ["--required-profile", profile] if profile else []
