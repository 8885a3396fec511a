"""What `issue` and `run` have in common: getting a certificate, publishing it, and verifying that it is served."""

from __future__ import annotations

import logging
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from keeper.acme.certbot import Certbot, Wish
from keeper.errors import (
    IssueError,
    LimitError,
    PreflightError,
    RehearsalError,
)
from keeper.kinds import Kind
from keeper.ladder import AFTER_FAILURES, DAYS
from keeper.limit import check_weekly_limit
from keeper.look.preflight import Verdict, preflight
from keeper.pairs import certificate, served
from keeper.pairs.certificate import Certificate
from keeper.pairs.published import Published
from keeper.settings import DNS_01, HTTP_01, LETS_ENCRYPT, LETS_ENCRYPT_STAGING, Authority, Settings
from keeper.state import State, Store
from keeper.words import when

#: How long an authority may fail before the next one is asked.
PATIENCE_WITH_AUTHORITY: Final = 1 * DAYS
EDGE_TIMEOUT: Final = 30.0
NOT_ASKED: Final = " (the certificate authority was not asked)"

log = logging.getLogger("keeper")


class Keeper:
    """Keeps one domain's certificate. ``clock`` returns Unix time, ``chance`` a number from 0 up to 1.

    ``patience``: how many seconds nginx may take to serve what was published. ``first``: the keeper of the other kind's
    certificate, if this is the second one of the domain; otherwise this one makes the second one that the settings
    want. What the second one keeps is named after the domain and the kind, everywhere.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
        patience: float = served.TIMEOUT,
        first: Keeper | None = None,
    ) -> None:
        self.settings: Final = settings
        self.clock: Final = clock
        self.chance: Final = chance
        self.patience: Final = patience
        self.first: Final = first
        self.kind: Final = settings.kinds[0 if first is None else 1]
        self.name: Final = settings.name_of(self.kind)
        self.store: Final = Store(settings.state / "keeper", name=self.name, server=settings.server)
        self.published: Final = Published(settings.published, self.name, settings.passed_on)
        has_second = first is None and len(settings.kinds) > 1
        self.second: Final = (
            Keeper(settings, clock=clock, chance=chance, patience=patience, first=self) if has_second else None
        )
        # State that could not be written, as on a full disk, still applies while this process lives.
        self._unwritten: State | None = None

    @property
    def is_staging(self) -> bool:
        """Whether the settings name an authority that nobody trusts."""
        return self.settings.server == LETS_ENCRYPT_STAGING

    # Two kinds of keys.

    @property
    def all(self) -> list[Keeper]:
        """This keeper, and the second one if there is one."""
        return [self, self.second] if self.second else [self]

    @property
    def label(self) -> str:
        """What tells this certificate apart from the domain's other one; empty if there is no other."""
        return self.kind.label if self.first or self.second else ""

    def certbot(self, names: Sequence[str] = (), *, state: Path | None = None, staging: bool | None = None) -> Certbot:
        """Return certbot for this certificate. ``staging``: of an authority nobody trusts (as in the settings)."""
        is_staging = self.is_staging if staging is None else staging
        return Certbot(self.settings, names or self.settings.names, name=self.name, state=state, staging=is_staging)

    @property
    def waits_for_first(self) -> bool:
        """Whether the first certificate's authority must not be asked for this one too: it said so, or the first tries
        for that one failed, and more would exceed the limit on failed validations."""
        if self.first is None:
            return False
        ladder = self.first.recall().ladder
        return ladder.forbidden(self.clock()) or 0 < ladder.failures < len(AFTER_FAILURES)

    def wanted_kind(self, kept: Certificate | None) -> Kind:
        """Return the kind of key for the next certificate. It stays as it is until nginx serves the second certificate,
        if that is of the same kind: otherwise, no client that needs this kind could connect meanwhile."""
        second = self.second
        return second.kind if kept and second and kept.kind is second.kind and not second.is_offered else self.kind

    @property
    def is_offered(self) -> bool:
        """Whether nginx was seen to serve what this keeper published, a certificate of its own."""
        published = self.published.certificate()
        if published is None or not published.good_for(self.settings.domain, self.clock()):
            return False
        other = self.first.published.certificate() if self.first else None
        return self.recall().offered == published.serial_hex and (other is None or other.serial != published.serial)

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

    # What is kept.

    def wanting(self, certbot: Certbot) -> str:
        """Return what the kept certificate lacks, whatever else happened; empty if it is good now."""
        kept = certbot.certificate()
        if kept is None:
            return f"there is no certificate for {certbot.names[0]}"
        if not kept.covers(certbot.names):
            return f"the certificate is not for {', '.join(sorted(set(certbot.names) - kept.names))}"
        if not kept.valid_at(self.clock()):
            return f"the certificate is valid from {when(kept.not_before)} to {when(kept.not_after)}"
        if kept.kind is not (kind := self.wanted_kind(kept)):
            return f"the certificate has no {kind.label} key, which CERTIFICATE_KEYS asks for"
        return certificate.flaw(certbot.folders.lineage)

    def is_better(self, published: Certificate | None, kept: Certificate) -> bool:
        """Whether what is published is good, and newer than what is kept, as after an older state of certbot's folders
        was restored."""
        if published is None or not published.valid_at(self.clock()) or not published.covers(self.settings.names):
            return False
        is_real = not published.is_self_signed and not self.is_trial(published)
        return is_real and published.not_before > kept.not_before

    def is_trial(self, published: Certificate) -> bool:
        """Whether it is a certificate of a staging server, which nobody trusts."""
        return published.is_staging or published.serial_hex == self.recall().staged

    def issuer_of(self, certbot: Certbot) -> Authority | None:
        """Return the authority of the settings that issued the kept certificate; None if it was none of them."""
        server = certbot.folders.server
        return next((authority for authority in self.settings.authorities if authority.server == server), None)

    def authorities_now(self) -> Sequence[Authority]:
        """Return the authorities to ask, in order: the next one only if the first one has been failing for a day."""
        since = self.recall().failing_since
        first, *others = self.settings.authorities
        is_over = since and self.clock() - since >= PATIENCE_WITH_AUTHORITY
        return [first, *others] if is_over else [first]

    async def ask_in_turn(self, ask: Callable[[Authority], Awaitable[None]]) -> None:
        """Ask the authorities that are to be asked now, until one has issued. Raises the error of the first, with those
        of the others."""
        first, *others = self.authorities_now()
        ladder, retry_at = self.recall().ladder, None
        if ladder.forbidden(self.clock()):
            said = [f"{first.server} asked to be left alone until {when(ladder.not_before)}"]
            if not others:
                raise LimitError(said[0], ladder.not_before)
        else:
            try:
                await ask(first)
            except (IssueError, LimitError, PreflightError) as error:
                if not others:
                    raise
                said = [str(error)]
                retry_at = None if isinstance(error, PreflightError) else error.retry_at
            else:
                return
        for authority in others:
            log.warning("%s (failing since %s): asking another authority", said[-1], when(self.recall().failing_since))
            try:
                await ask(authority)
            except (IssueError, LimitError, PreflightError) as error:
                said.append(f"{authority.server}: {error}")
            else:
                return
        raise IssueError("; and ".join(said), retry_at)

    # Steps. Each raises a KeeperError, whose text says what to do.

    async def look(
        self, names: Sequence[str], *, server: str, profile: str, shown: Collection[Verdict] = tuple(Verdict)
    ) -> None:
        """Look for problems beforehand, and raise `PreflightError` if there are any. ``shown``: the verdicts to log."""
        if not await served.accepts_connections(self.settings.edge, EDGE_TIMEOUT):
            raise PreflightError(f"nothing listens at {self.settings.edge}: start nginx, and look at its log")
        findings = await preflight(
            self.settings,
            names,
            server=server,
            profile=profile,
            now=self.clock(),
            challenge=DNS_01 if self.settings.challenge.by_dns else HTTP_01,
        )
        for finding in findings:
            if finding.verdict in shown:
                log.log(logging.INFO if finding.verdict is Verdict.GOOD else logging.WARNING, "  %s", finding)
        wrong = [finding.says for finding in findings if finding.verdict is Verdict.WRONG]
        if wrong:
            raise PreflightError("; and ".join(wrong) + NOT_ASKED)

    def spare_the_limit(self, certbot: Certbot, *, server: str, by_force: bool) -> None:
        """Raise `LimitError` if another certificate for these names would exceed this week's limit."""
        if server == LETS_ENCRYPT:
            issued = certbot.folders.issued_lately(certbot.names, self.clock())
            check_weekly_limit(issued, by_force=by_force)

    async def rehearse(self, names: Sequence[str], wish: Wish) -> None:
        """Get a certificate with a new account, and discard both. Nothing that is served or kept is changed."""
        with tempfile.TemporaryDirectory(prefix="callgate-rehearsal-") as folder:
            elsewhere = replace(self.settings, published=Path(folder) / "published")
            certbot = Certbot(elsewhere, names, name=self.name, state=Path(folder) / "certbot", staging=True)
            await certbot.get(replace(wish, kind=self.kind, force=False))

    async def get(self, certbot: Certbot, wish: Wish, *, rehearsed: bool) -> None:
        """Get a new certificate. ``rehearsed``: first get one from the staging server, if there is one."""
        staging = self.settings.staging_server
        if rehearsed and staging and wish.authority == self.settings.authorities[0]:
            log.info("rehearsing at %s", staging)
            try:
                await self.rehearse(certbot.names, replace(wish, authority=Authority(staging)))
            except IssueError as error:
                if not error.is_servers:
                    raise RehearsalError(str(error)) from error
                # Nothing follows from it about the names, and the real authority may be well.
                log.warning("there is no rehearsal at %s: %s", staging, error)
        log.info("asking %s for the certificate", wish.authority.server)
        await certbot.get(wish)

    async def tell_contact(self, certbot: Certbot, wish: Wish, *, is_new_account: bool) -> None:
        """Tell the authority about another ACME_EMAIL. A failure is only logged: no certificate depends on it."""
        if self.first or self.recall().contact == wish.email:  # the account is the same for both
            return
        if not is_new_account:
            try:
                await certbot.tell_contact(wish)
            except IssueError as error:
                log.warning("the authority was not told the new ACME_EMAIL: %s", error)
                return
            log.info("the authority was told the new ACME_EMAIL")
        self.remember(replace(self.recall(), contact=wish.email))
