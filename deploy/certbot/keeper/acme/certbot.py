"""Runs certbot: what it is asked, what it says about what it keeps, and what it got."""

from __future__ import annotations

import contextlib
import logging
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keeper.acme.diagnosis import Diagnosis, diagnose
from keeper.acme.folders import Folders
from keeper.acme.problems import Start
from keeper.acme.redaction import redacted, secrets_in
from keeper.errors import IssueError
from keeper.kinds import Kind
from keeper.pairs import certificate
from keeper.pairs.certificate import Certificate, is_address
from keeper.program import Done, run_program
from keeper.settings import Authority, Settings

HERE: Final = Path(__file__).resolve().parents[2]
TIMEOUT: Final = 600.0
# certbot repeats a request whose nonce was refused only once, and then gives up; another run counts against no limit.
BAD_NONCE_TRIES: Final = 3

log = logging.getLogger("keeper")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of certbot. ``kind``: of the key; a kept certificate with another kind is replaced. ``force``: a
    new certificate even if the kept one is not due."""

    authority: Authority
    email: str = ""
    profile: str = ""
    kind: Kind = Kind.ECDSA
    force: bool = False


class Certbot:
    """certbot for one certificate. ``name``: its name in certbot's folders, and where it is published (the first host
    name)."""

    def __init__(
        self,
        settings: Settings,
        names: Sequence[str],
        *,
        name: str = "",
        state: Path | None = None,
        staging: bool = False,
    ) -> None:
        self._settings = settings
        self.names: Final = tuple(names)
        self.name: Final = name or self.names[0]
        both = (self.names[0], settings.name_of(Kind.RSA), self.name)
        others = tuple(other for other in dict.fromkeys(both) if other != self.name)
        self.folders: Final = Folders(state or settings.state, self.name, others)
        self._environ = {
            **settings.passed_on,
            **({"REQUESTS_CA_BUNDLE": str(settings.ca_bundle)} if settings.ca_bundle else {}),
            **({"CERT_STAGING": "yes"} if staging else {}),
            **settings.challenge.environ,
            "ACME_WEBROOT": str(settings.webroot),
            "CERTBOT": settings.certbot,
            "CERTBOT_STATE": str(self.folders.state),
            "CERT_PUBLISHED": str(settings.published),
            "CERT_PUBLISHED_NAME": self.name,
            "DOMAIN": self.names[0],
            "PUBLISH_KEPT": "no",  # the keeper decides about that
        }

    def certificate(self) -> Certificate | None:
        """Return the newest certificate; None if there is none."""
        return self.folders.certificate()

    async def get(self, wish: Wish, *, sparing: Callable[[], None] = lambda: None) -> None:
        """Get a certificate, which the hook publishes; one that is kept and not due is left, unless ``force``.

        certbot is told everything each time, so nothing depends on what it remembers. Where that stands in its way, it
        starts with less of it, and what stood in the way is set aside. ``sparing`` is called before that, because it
        costs a certificate that was not due, and may raise. Raises `IssueError`.
        """
        self.folders.end_what_was_interrupted()
        has_memory = self.folders.config.exists()
        try:
            start, why = await self._first_start(wish)
        except IssueError as error:
            if error.heals is None:
                raise
            start, why = Start(error.heals), str(error)
        first = ""  # why certbot failed before it was started anew
        while True:
            if start is not Start.AS_IT_IS:
                sparing()
                kept = "the accounts are kept" if start is Start.WITHOUT_CERTIFICATE else "with a new account"
                log.warning("%s: certbot starts anew (%s), and what it had is set aside", why, kept)
            try:
                with self.folders.set_aside(start):
                    await self._issue(wish, start)
                return
            except IssueError as error:
                if error.heals is None or error.heals <= start or not has_memory:
                    if not first:
                        raise
                    says = f"{first}; and after a new start, {error}"
                    raise IssueError(says, error.retry_at, is_servers=error.is_servers) from error
                start, why = Start(error.heals), str(error)
                first = first or why

    async def _first_start(self, wish: Wish) -> tuple[Start, str]:
        """Return how certbot has to start, and why, if what it keeps can't be renewed."""
        if not self.folders.holds_anything():
            return Start.AS_IT_IS, ""
        if self.folders.server not in ("", wish.authority.server):
            return Start.WITHOUT_CERTIFICATE, f"the kept certificate is not of {wish.authority.server}"
        if flaw := certificate.flaw(self.folders.lineage):
            return Start.WITHOUT_CERTIFICATE, flaw
        if complaint := await self._complaint():
            return Start.WITHOUT_CERTIFICATE, f"certbot can't renew the certificate that it keeps ({complaint})"
        return Start.AS_IT_IS, ""

    async def _complaint(self) -> str:
        """Return what certbot has against the certificate that it keeps; empty if it can renew it."""
        done = await self._run([self._settings.certbot, "certificates", *self._in_folders()], {})
        if done.status or done.timed_out:
            raise self._failed(done)
        block = re.search(rf"^ +Certificate Name: {re.escape(self.name)}\n(?: {{4,}}.*\n?)*", done.output, re.MULTILINE)
        path = re.search(r"Certificate Path: (.*)$", block[0], re.MULTILINE) if block else None
        if path is None:
            said = re.search(
                rf"^.*{re.escape(self.name)}\.conf.*(?:error|broken|invalid).*$", done.output, re.MULTILINE
            )
            return said[0].strip() if said else f"it knows no certificate {self.name}"
        wanted = self.folders.lineage / "fullchain.pem"
        return "" if _is_same_file(Path(path[1]), wanted) else f"it keeps it at {path[1]}, and not at {wanted}"

    async def _issue(self, wish: Wish, start: Start) -> None:
        before = self.certificate()
        with self._config_file(wish.authority) as config:
            environ = {"ACME_EMAIL": wish.email, "ACME_SERVER": wish.authority.server, "ACME_CONFIG": str(config)}
            for attempt in range(1, BAD_NONCE_TRIES + 1):
                done = await self._run([str(HERE / "issue"), *self._options(wish)], environ)
                if done.status == 0 and not done.timed_out:
                    break
                failed = self._failed(done)
                if self._got_new(before):
                    log.warning("certbot got a certificate, but says: %s", failed)
                    return
                if not failed.is_bad_nonce or attempt == BAD_NONCE_TRIES:
                    raise failed
        if wish.force and not self._got_new(before):
            raise IssueError("certbot reported success, but there is no new certificate: see letsencrypt.log")

    def _got_new(self, before: Certificate | None) -> bool:
        now = self.certificate()
        if now is None or (before is not None and now.serial == before.serial):
            return False
        return now.covers(self.names) and not certificate.flaw(self.folders.lineage)

    def _options(self, wish: Wish) -> list[str]:
        kinds = {True: "--ip-address", False: "--domain"}
        options = [word for name in self.names[1:] for word in (kinds[is_address(name)], name)]
        # The last --cert-name counts, which is not that of `issue`.
        options += ["--cert-name", self.name, "--key-type", wish.kind, *self._settings.challenge.options]
        if account := self.folders.account(wish.authority.server):
            options += ["--account", account]
        if wish.profile:
            options += ["--required-profile", wish.profile]
        return [*options, "--force-renewal"] if wish.force else options

    async def tell_contact(self, wish: Wish) -> None:
        """Tell the authority another e-mail address of the account. Raises `IssueError`."""
        account = self.folders.account(wish.authority.server)
        contact = ["--email", wish.email] if wish.email else ["--register-unsafely-without-email"]
        options = ["--account", account, "--server", wish.authority.server, "--non-interactive", *contact]
        done = await self._run([self._settings.certbot, "update_account", *self._in_folders(), *options], {})
        if done.status or done.timed_out:
            raise self._failed(done)

    # Running.

    def _in_folders(self) -> list[str]:
        return [f"--{name}-dir={self.folders.state / name}" for name in ("config", "work", "logs")]

    @contextlib.contextmanager
    def _config_file(self, authority: Authority) -> Iterator[Path]:
        """Yield certbot's settings, with the external account binding: a secret does not belong in its arguments, which
        it logs."""
        settings = HERE / "cli.ini"
        if not authority.eab_kid:
            yield settings
            return
        with tempfile.NamedTemporaryFile("w", prefix="callgate-certbot-", suffix=".ini") as file:  # mode 0600
            file.write(settings.read_text())
            file.write(f"\neab-kid = {authority.eab_kid}\neab-hmac-key = {authority.eab_hmac_key}\n")
            file.flush()
            yield Path(file.name)

    async def _run(self, argv: Sequence[str], environ: Mapping[str, str]) -> Done:
        self.folders.state.mkdir(parents=True, exist_ok=True)
        try:
            return await run_program(argv, environ={**self._environ, **environ}, timeout=TIMEOUT)
        except OSError as error:
            raise IssueError(f"certbot can't be started: {error}") from error

    def _failed(self, done: Done) -> IssueError:
        secrets = secrets_in(self._settings.passed_on)
        output, logged = redacted(done.output, secrets), redacted(self.folders.log(), secrets)
        if done.timed_out:
            diagnosis = Diagnosis(f"certbot did not finish within {TIMEOUT:.0f} s", "the keeper will retry")
        else:
            by_dns = self._settings.challenge.by_dns
            diagnosis = diagnose(output, logged, time.time(), by_dns=by_dns)
        return IssueError(
            str(diagnosis),
            diagnosis.retry_at,
            heals=diagnosis.heals,
            is_bad_nonce=diagnosis.is_bad_nonce,
            is_servers=diagnosis.is_servers,
        )


def _is_same_file(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
