"""`keeper run`: the service, which looks after the certificate. No error ends it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import logging
import os
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from keeper import self_signed
from keeper.certbot import Certbot
from keeper.certificate import Certificate
from keeper.errors import BusyError, KeeperError
from keeper.keeper import REFUSED_BY_TWILIO, Keeper, describe, set_aside_half_written, when
from keeper.ladder import Ladder
from keeper.preflight import Verdict
from keeper.state import State

TURN_INTERVAL: Final = 15.0
HEARTBEAT_INTERVAL: Final = 10.0
#: How old a heartbeat may be before the service counts as dead.
HEARTBEAT_LIMIT: Final = 60.0
PUBLISH_AGAIN_AFTER: Final = 60.0

log = logging.getLogger("keeper")

Sleep = Callable[[float], Awaitable[None]]


class Service:
    """The service, which works in turns. It remembers its last message, so as not to repeat it."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._certbot = Certbot(keeper.settings, [keeper.settings.domain], staging=keeper.is_staging)
        self._confirmed: int | None = None
        self._publish_again_at = 0.0
        self._complaint = ""

    async def run(self, sleep: Sleep = asyncio.sleep) -> None:
        """Run until cancelled."""
        self._say_hello()
        heart = asyncio.ensure_future(self._beat(sleep))
        try:
            while True:
                await self.turn()
                await sleep(TURN_INTERVAL)
        finally:
            heart.cancel()
            await asyncio.gather(heart, return_exceptions=True)

    def _say_hello(self) -> None:
        settings = self._keeper.settings
        if settings.is_rehearsal:
            log.warning("DOMAIN is not set: a self-signed certificate for rehearsals; %s", REFUSED_BY_TWILIO)
            return
        log.info("keeping the certificate for %s, issued by %s", settings.domain, settings.server)
        if self._keeper.is_staging:
            log.warning("ACME_SERVER IS THE STAGING SERVER, AND NOBODY TRUSTS ITS CERTIFICATES. %s", REFUSED_BY_TWILIO)

    async def _beat(self, sleep: Sleep) -> None:
        while True:
            with contextlib.suppress(OSError):  # then `health` reports the missing heartbeat
                self._keeper.store.beat()
            await sleep(HEARTBEAT_INTERVAL)

    async def turn(self) -> None:
        """Do what is due. Errors are logged; those of the authority postpone the next try."""
        try:
            async with self._keeper.store.lock(timeout=0):
                if self._keeper.settings.is_rehearsal:
                    await self._keep_self_signed()
                else:
                    await self._keep_issued()
                await self._confirm()
        except BusyError:
            log.debug("another keeper is at work on the certificate")
        except KeeperError as error:
            self._complain(str(error))
        except OSError as error:
            self._complain(f"a folder can't be read or written ({error}): make room on it, or give it to this user")
        else:
            self._complaint = ""

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            log.error("%s", what)
        self._complaint = what

    async def _confirm(self) -> None:
        published = self._keeper.published.certificate()
        if published is None or published.serial == self._confirmed:
            return
        self._confirmed = None
        confirmed = await self._keeper.confirm()
        self._confirmed = confirmed.serial
        log.info("served, by the handshake: %s", describe(confirmed))

    # With a domain.

    async def _keep_issued(self) -> None:
        keeper = self._keeper
        (keeper.settings.rehearsal / "ca.pem").unlink(missing_ok=True)
        await self._publish_what_is_kept()
        if self._is_due(keeper.recall()):
            await self._attempt()

    async def _publish_what_is_kept(self) -> None:
        keeper, now = self._keeper, self._keeper.clock()
        kept, published = self._certbot.certificate(), keeper.published.certificate()
        if kept is None or not kept.good_for(keeper.settings.domain, now) or now < self._publish_again_at:
            return
        if published and (published.serial == kept.serial or self._is_held_back(kept, published)):
            return
        if self._certbot.server() != keeper.settings.server:
            return
        self._publish_again_at = now + PUBLISH_AGAIN_AFTER
        await keeper.published.publish(self._certbot.lineage, staging=keeper.is_staging)
        self._publish_again_at = 0.0
        log.info("published: %s", describe(kept))

    def _is_held_back(self, kept: Certificate, published: Certificate) -> bool:
        is_asked = self._keeper.recall().held_back == kept.serial_hex
        return is_asked and published.good_for(self._keeper.settings.domain, self._keeper.clock())

    def _is_due(self, state: State) -> bool:
        keeper, now = self._keeper, self._keeper.clock()
        if state.ladder.due(now):
            return True
        published = keeper.published.certificate()
        is_served = published is not None and published.good_for(keeper.settings.domain, now)
        # The last try succeeded, but the volumes were emptied since.
        return not is_served and state.ladder.failures == 0 and self._certbot.certificate() is None

    async def _attempt(self) -> None:
        with self._keeper.attempt(self._certbot, interrupted="the last try was interrupted", told=self._told):
            await self._get()
            await self._publish_what_is_kept()
        self._confirmed = None
        log.info("all is well; next check %s", when(self._keeper.recall().ladder.next_try))

    def _told(self, error: KeeperError, ladder: Ladder) -> None:
        self._complain(f"{error} (failure {ladder.failures}; next try {when(ladder.next_try)})")
        self._complaint = str(error)

    async def _get(self) -> None:
        keeper, settings = self._keeper, self._keeper.settings
        set_aside_half_written(self._certbot)
        published = keeper.published.certificate()
        if published and published.is_staging:
            keeper.remember(replace(keeper.recall(), held_back=""))
        kept = self._certbot.certificate()
        is_ours = kept is not None and settings.domain in kept.names and self._certbot.server() == settings.server
        if is_ours:
            await self._renew(kept)
        else:
            await self._issue()

    async def _renew(self, kept: Certificate | None) -> None:
        keeper = self._keeper
        keeper.spare_the_limit(self._certbot, server=keeper.settings.server, by_force=False)
        await self._certbot.renew(profile=keeper.settings.profile)
        new = self._certbot.certificate()
        if new and kept and new.serial != kept.serial:
            log.info("renewed: %s", describe(new))

    async def _issue(self) -> None:
        keeper, settings = self._keeper, self._keeper.settings
        log.info("there is no certificate of %s for %s: getting one", settings.server, settings.domain)
        doubts = (Verdict.SUSPICIOUS, Verdict.CANT_TELL)
        await keeper.look([settings.domain], server=settings.server, profile=settings.profile, shown=doubts)
        keeper.spare_the_limit(self._certbot, server=settings.server, by_force=False)
        await keeper.get(
            self._certbot,
            server=settings.server,
            email=settings.email,
            profile=settings.profile,
            rehearsed=True,
            force=self._certbot.certificate() is not None,
        )

    # Without a domain.

    async def _keep_self_signed(self) -> None:
        keeper, now = self._keeper, self._keeper.clock()
        name = keeper.settings.domain
        published = keeper.published.certificate()
        if published is None or not published.good_for(name, now) or published.is_due_at(now):
            with tempfile.TemporaryDirectory(prefix="callgate-self-signed-") as folder:
                pair = self_signed.make(name, datetime.datetime.fromtimestamp(now, datetime.UTC))
                (Path(folder) / "fullchain.pem").write_bytes(pair.fullchain)
                (Path(folder) / "privkey.pem").write_bytes(pair.privkey)
                await keeper.published.publish(Path(folder))
        self._let_it_be_trusted()

    def _let_it_be_trusted(self) -> None:
        issuer = self._keeper.published.issuer_pem()
        trusted = self._keeper.settings.rehearsal / "ca.pem"
        if trusted.is_file() and trusted.read_bytes() == issuer:
            return
        trusted.parent.mkdir(parents=True, exist_ok=True)
        new = trusted.with_name("ca.pem.new")
        new.write_bytes(issuer)
        new.chmod(0o644)
        os.replace(new, trusted)


def health(keeper: Keeper) -> tuple[bool, str]:
    """Return whether the service is alive and its certificate good, and one line about it."""
    now, name = keeper.clock(), keeper.settings.domain
    age = keeper.store.heartbeat_age(now)
    if age is None or age > HEARTBEAT_LIMIT:
        heard = "has never run" if age is None else f"gave no sign of life for {age:.0f} s"
        return False, f"the keeper's service {heard}: see its log"
    state, published = keeper.recall(), keeper.published.certificate()
    trouble = f"; the last try failed: {state.failure}; next try {when(state.ladder.next_try)}" if state.failure else ""
    if published is None:
        return False, f"no certificate is published for {name}{trouble}"
    if not published.good_for(name, now):
        return False, f"the published certificate is not good for {name} now ({describe(published)}){trouble}"
    if state.unserved:
        return False, state.unserved
    return True, f"{describe(published)}{trouble}"
