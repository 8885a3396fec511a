"""What `issue` and `run` have in common: getting a certificate, publishing it, and verifying that it is served."""

from __future__ import annotations

import contextlib
import datetime
import logging
import random
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from keeper import served
from keeper.certbot import BACKDATED, WEEK, WEEKLY_LIMIT, Certbot
from keeper.certificate import Certificate
from keeper.errors import IssueError, KeeperError, LimitError, PreflightError, PublishError, UnservedError
from keeper.ladder import Ladder
from keeper.preflight import Verdict, preflight
from keeper.published import Published
from keeper.settings import LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Settings
from keeper.state import State, Store

#: Let's Encrypt issues five certificates a week for the same names. The last one is for emergencies (`--force`).
SPARED: Final = 1
EDGE_TIMEOUT: Final = 30.0
REFUSED_BY_TWILIO: Final = "Twilio refuses it: errors 11237 (webhook) and 31910 (stream)"

log = logging.getLogger("keeper")


class Keeper:
    """Keeps one domain's certificate. ``clock`` returns Unix time, ``chance`` a number from 0 up to 1.

    ``patience``: how many seconds nginx may take to serve what was published.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        patience: float = served.TIMEOUT,
    ) -> None:
        self.settings: Final = settings
        self.clock: Final = clock
        self.chance: Final = chance
        self._patience: Final = patience
        self.store: Final = Store(settings.state / "keeper", domain=settings.domain, server=settings.server)
        self.published: Final = Published(settings.published, settings.domain, settings.passed_on)
        # State that could not be written, as on a full disk, still applies while this process lives.
        self._unwritten: State | None = None

    @property
    def is_staging(self) -> bool:
        """Whether the settings name an authority that nobody trusts."""
        return self.settings.server == LETS_ENCRYPT_STAGING

    # The state that survives restarts.

    def recall(self) -> State:
        return self._unwritten or self.store.read()

    def remember(self, state: State) -> bool:
        """Save the state. Return False, and log it, if it can't be written."""
        try:
            self.store.write(state)
        except OSError as error:
            if self._unwritten is None:
                log.error("the keeper's state can't be written (%s): make room in CERTBOT_STATE", error.strerror)
            self._unwritten = state
            return False
        self._unwritten = None
        return True

    @contextlib.contextmanager
    def attempt(
        self,
        certbot: Certbot,
        *,
        interrupted: str,
        told: Callable[[KeeperError, Ladder], None] | None = None,
        anyway: bool = False,
    ) -> Iterator[None]:
        """Wrap one attempt to have a certificate issued and published.

        Until it succeeds, it is saved as a failure with the text ``interrupted``: however this process ends, nothing
        asks the authority again at once. If it fails, ``told`` is called with the error and the next due time. Raises
        `PublishError` if the state can't be saved, unless the attempt is to be made ``anyway``.
        """
        before = self.recall()
        is_saved = self.remember(replace(before, ladder=before.ladder.failed(self.clock()), failure=interrupted))
        if not is_saved and not anyway:
            raise PublishError("the authority is not asked while CERTBOT_STATE can't be written: make room on its disk")
        try:
            yield
        except (PreflightError, PublishError, IssueError, LimitError) as error:
            retry_at = error.retry_at if isinstance(error, IssueError | LimitError) else None
            is_local = isinstance(error, PreflightError | PublishError)  # the authority was not involved
            ladder = before.ladder.failed(self.clock(), local=is_local, retry_at=retry_at)
            self.remember(replace(before, ladder=ladder, failure=str(error)))
            if told is not None:
                told(error, ladder)
            raise
        kept = certbot.certificate()
        lifetime = kept.lifetime.total_seconds() if kept else 0.0
        ladder = before.ladder.succeeded(self.clock(), lifetime=lifetime, chance=self.chance())
        self.remember(replace(self.recall(), ladder=ladder, failure=""))

    # Steps. Each raises a KeeperError, whose text says what to do.

    async def look(
        self, names: Sequence[str], *, server: str, profile: str, shown: Collection[Verdict] = tuple(Verdict)
    ) -> None:
        """Look for problems beforehand, and raise `PreflightError` if there are any. ``shown``: the verdicts to log."""
        if not await served.accepts_connections(self.settings.edge, EDGE_TIMEOUT):
            raise PreflightError(f"nothing listens at {self.settings.edge}: start nginx, and look at its log")
        findings = await preflight(self.settings, names, server=server, profile=profile, now=self.clock())
        for finding in findings:
            if finding.verdict in shown:
                log.log(logging.INFO if finding.verdict is Verdict.GOOD else logging.WARNING, "  %s", finding)
        wrong = [finding.says for finding in findings if finding.verdict is Verdict.WRONG]
        if wrong:
            raise PreflightError("the certificate authority was not asked: " + "; and ".join(wrong))

    def spare_the_limit(self, certbot: Certbot, *, server: str, by_force: bool) -> None:
        """Raise `LimitError` if another certificate for these names would exceed this week's limit."""
        if server == LETS_ENCRYPT:
            check_weekly_limit(certbot.issued_lately(self.clock()), by_force=by_force)

    async def rehearse(self, names: Sequence[str], *, server: str, email: str, profile: str) -> None:
        """Get a certificate with a new account, and discard both. Nothing that is served or kept is changed."""
        with tempfile.TemporaryDirectory(prefix="callgate-rehearsal-") as folder:
            elsewhere = replace(self.settings, published=Path(folder) / "published")
            certbot = Certbot(elsewhere, names, state=Path(folder) / "certbot", staging=True)
            await certbot.issue(server=server, email=email, profile=profile, force=False)

    async def get(
        self, certbot: Certbot, *, server: str, email: str, profile: str, rehearsed: bool, force: bool
    ) -> None:
        """Get a new certificate. ``rehearsed``: first get one from the staging server, if there is one."""
        what = {"email": email, "profile": profile}
        if rehearsed and self.settings.staging_server:
            log.info("rehearsing at %s", self.settings.staging_server)
            await self.rehearse(certbot.names, server=self.settings.staging_server, **what)
        log.info("asking %s for the certificate", server)
        await certbot.issue(server=server, force=force, **what)

    async def confirm(self) -> Certificate:
        """Verify by a handshake that the published certificate is served, and return it. Raises `UnservedError`."""
        published = self.published.certificate()
        name, edge = self.settings.domain, self.settings.edge
        try:
            if published is None:
                raise UnservedError(f"no certificate is published for {name}")
            if not await served.accepts_connections(edge, EDGE_TIMEOUT):
                raise UnservedError(f"nothing listens at {edge}: start nginx, and look at its log")
            await served.confirm(edge, name, published, timeout=self._patience)
        except UnservedError as error:
            self.remember(replace(self.recall(), unserved=str(error)))
            raise
        state = self.recall()
        if state.unserved:
            self.remember(replace(state, unserved=""))
        return published


def set_aside_half_written(certbot: Certbot) -> None:
    """Move files out of the way on which certbot would fail."""
    for path in certbot.set_aside_half_written():
        log.warning("set aside what a certbot that was killed left half-written: %s", path)


def check_weekly_limit(issued: Sequence[float], *, by_force: bool) -> None:
    """Raise `LimitError` if the week's certificates are used up. ``issued``: when they were issued, oldest first."""
    allowed = WEEKLY_LIMIT if by_force else WEEKLY_LIMIT - SPARED
    if len(issued) < allowed:
        return
    free_at = issued[len(issued) - allowed] + WEEK + BACKDATED
    last = "" if by_force else "; the last one of the week is reserved for emergencies (--force)"
    raise LimitError(
        f"{len(issued)} certificates of exactly these names were issued within 7 days, and Let's Encrypt allows "
        f"{WEEKLY_LIMIT}: the next one is due after {when(free_at)}{last}",
        free_at,
    )


def when(at: float | datetime.datetime) -> str:
    """Format a time for people."""
    moment = at if isinstance(at, datetime.datetime) else datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def describe(certificate: Certificate) -> str:
    """Describe a certificate, with its end and its approximate renewal."""
    names = ", ".join(sorted(certificate.names))
    return (
        f"{names}: serial {certificate.serial_hex}, issued by {certificate.issuer}, valid until "
        f"{when(certificate.not_after)}, renewed about {when(certificate.renewal)}"
    )
