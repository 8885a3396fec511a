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

from keeper import alarm
from keeper.acme.certbot import Wish
from keeper.confirm import confirm
from keeper.errors import BusyError, IssueError, KeeperError, PreflightError, UnservedError
from keeper.keeper import NOT_ASKED, Keeper
from keeper.labels import labelled
from keeper.ladder import Ladder
from keeper.look.preflight import Verdict
from keeper.pairs import certificate, self_signed
from keeper.pairs.certificate import Certificate
from keeper.pairs.own import OwnCertificate
from keeper.settings import Authority
from keeper.state import State
from keeper.words import REFUSED_BY_TWILIO, describe, when

TURN_INTERVAL: Final = 15.0
HEARTBEAT_INTERVAL: Final = 10.0
PUBLISH_AGAIN_AFTER: Final = 60.0

log = logging.getLogger("keeper")

Sleep = Callable[[float], Awaitable[None]]


class Service:
    """The service, which works in turns. It remembers its last message, so as not to repeat it.

    If there are two certificates, one of these looks after each, and the second one works after the first.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        settings = keeper.settings
        self._certbot = keeper.certbot()
        self._second = Service(keeper.second) if keeper.second else None
        own = settings.own_pair
        self._own = OwnCertificate(own, keeper.published, settings.names) if own else None
        self._confirmed: int | None = None
        self._repeated: int | None = None  # the serial number that was published once more
        self._publish_again_at = 0.0
        self._complaint = ""
        self._has_looked = False  # since this process started: the volumes may have been changed meanwhile

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
        if settings.own_pair:
            log.info("serving your own certificate for %s, from %s", settings.domain, settings.own_pair.certificate)
            return
        names, keys = ", ".join(settings.names), " and ".join(kind.label for kind in settings.kinds)
        log.info("keeping the certificate for %s (%s), issued by %s", names, keys, settings.server)
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
                for service in filter(None, (self, self._second)):
                    with labelled(service._keeper.label):
                        await service._do_what_is_due()
        except BusyError:
            log.debug("another keeper is at work on the certificate")
        except OSError as error:
            self._complain(f"CERTBOT_STATE can't be written ({error}): make room on it, or give it to this user")

    async def _do_what_is_due(self) -> None:
        try:
            trouble = ""
            try:
                await self._keep()
            except (KeeperError, OSError) as error:
                trouble = str(error)
                raise
            finally:
                if asyncio.current_task() is None or not asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    self._raise_alarms(trouble)
        except KeeperError as error:
            self._complain(str(error))
        except OSError as error:
            self._complain(f"a folder can't be read or written ({error}): make room on it, or give it to this user")
        except Exception as error:
            log.exception("a fault of the keeper's own; it goes on")
            self._complain(f"a fault of the keeper's own ({error!r}): see its log")
        else:
            self._complaint = ""

    async def _keep(self) -> None:
        if self._own:
            (self._keeper.settings.rehearsal / "ca.pem").unlink(missing_ok=True)
            if new := await self._own.publish():
                log.info("published: %s", describe(new))
        elif self._keeper.settings.is_rehearsal:
            await self._keep_self_signed()
        else:
            await self._keep_issued()
        await self._confirm()

    def _raise_alarms(self, trouble: str) -> None:
        keeper = self._keeper
        state = keeper.recall()
        published, name = keeper.published.certificate(), keeper.settings.domain
        found = alarm.alarms(state, published, name, keeper.clock(), label=keeper.label)
        if found.keys() != state.alarms.keys() or trouble != state.trouble:
            alarm.tell(state.alarms, found)
            keeper.remember(replace(state, alarms=found, trouble=trouble))

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            log.error("%s", what)
        self._complaint = what

    async def _confirm(self) -> None:
        published = self._keeper.published.certificate()
        if published is None or (published.serial == self._confirmed and not self._keeper.recall().unserved):
            return
        self._confirmed = None
        try:
            confirmed = await confirm(self._keeper)
        except UnservedError as error:
            if not await self._published_once_more(published, error):
                raise
            confirmed = await confirm(self._keeper)
        if confirmed is None:
            return  # somebody was told to start nginx again
        self._confirmed = confirmed.serial
        log.info("served, by the handshake: %s", describe(confirmed))

    async def _published_once_more(self, published: Certificate, error: UnservedError) -> bool:
        """Publish the pair that is not served again, once: its files may have become unreadable for nginx."""
        kept = self._certbot.certificate()
        is_kept = kept is not None and kept.serial == published.serial and not self._keeper.wanting(self._certbot)
        if not is_kept or self._repeated == published.serial:
            return False
        self._repeated = published.serial
        log.warning("%s. It is published once more", error)
        await self._keeper.published.publish(
            self._certbot.folders.lineage, names=self._certbot.names, staging=self._keeper.is_staging
        )
        return True

    # With a domain.

    async def _keep_issued(self) -> None:
        keeper = self._keeper
        (keeper.settings.rehearsal / "ca.pem").unlink(missing_ok=True)
        await self._let_the_first_stand_in()
        await self._publish_what_is_kept()
        if not keeper.waits_for_first and self._is_due(keeper.recall()):
            await self._attempt()

    async def _let_the_first_stand_in(self) -> None:
        """Publish the first certificate as the second too, if it still has the second one's kind of key, and what is
        published there is none or not good: an nginx that is started now serves both folders."""
        keeper, now, name = self._keeper, self._keeper.clock(), self._keeper.settings.domain
        published = keeper.published.certificate()
        if keeper.first is None or (published and published.good_for(name, now)):
            return
        first = keeper.first.published
        standing_in = first.certificate()
        if standing_in and standing_in.kind is keeper.kind and standing_in.good_for(name, now):
            await keeper.published.publish(first.current, names=keeper.settings.names, staging=keeper.is_staging)

    async def _publish_what_is_kept(self) -> None:
        keeper, now = self._keeper, self._keeper.clock()
        if now < self._publish_again_at:
            return
        kept, published = self._certbot.certificate(), keeper.published.certificate()
        names = self._certbot.names
        if keeper.wanting(self._certbot) or keeper.issuer_of(self._certbot) is None:
            # It is to be replaced. Until then it is better than none, if it is good for the domain itself.
            domain = keeper.settings.domain
            is_good = kept and kept.good_for(domain, now) and not certificate.flaw(self._certbot.folders.lineage)
            if not is_good or (published and published.good_for(domain, now)):
                return
            names = (domain,)
        if kept is None or (published and (published.serial == kept.serial or self._is_held_back(kept, published))):
            return
        self._publish_again_at = now + PUBLISH_AGAIN_AFTER
        await keeper.published.publish(self._certbot.folders.lineage, names=names, staging=keeper.is_staging)
        self._publish_again_at = 0.0
        log.info("published: %s", describe(kept))

    def _is_held_back(self, kept: Certificate, published: Certificate) -> bool:
        if self._keeper.recall().held_back == kept.serial_hex:
            return published.good_for(self._keeper.settings.domain, self._keeper.clock())
        return self._keeper.is_better(published, kept)

    def _is_due(self, state: State) -> bool:
        if state.ladder.due(self._keeper.clock()) or (state.ladder.failures == 0 and not self._has_looked):
            return True
        # The last try succeeded, but since then the volumes or the settings were changed.
        is_changed = self._keeper.wanting(self._certbot) or self._keeper.issuer_of(self._certbot) is None
        return state.ladder.failures == 0 and bool(is_changed)

    async def _attempt(self) -> None:
        self._has_looked = True
        with self._keeper.attempt(self._certbot, interrupted="the last try was interrupted", told=self._told):
            await self._get()
            if self._keeper.issuer_of(self._certbot) is None:  # then the next look would ask for another one
                raise IssueError("certbot was done, but does not know which authority issued: see letsencrypt.log")
            await self._publish_what_is_kept()
        self._confirmed = None
        log.info("all is well; next check %s", when(self._keeper.recall().ladder.next_try))

    def _told(self, error: KeeperError, ladder: Ladder) -> None:
        self._complain(f"{error} (failure {ladder.failures}; next try {when(ladder.next_try)})")
        self._complaint = str(error)

    async def _get(self) -> None:
        keeper = self._keeper
        published = keeper.published.certificate()
        if published and keeper.is_trial(published):
            keeper.remember(replace(keeper.recall(), held_back=""))
        kept, issuer = self._certbot.certificate(), keeper.issuer_of(self._certbot)
        if kept and issuer and not keeper.wanting(self._certbot) and not kept.is_due_at(keeper.clock()):
            # It is kept, unless its authority asks for an earlier renewal (ARI, RFC 9773).
            await self._ask(issuer)
            return
        await keeper.ask_in_turn(self._ask)

    async def _ask(self, authority: Authority) -> None:
        keeper, settings = self._keeper, self._keeper.settings
        before = self._certbot.certificate()
        kind = keeper.wanted_kind(before)
        wish = Wish(authority=authority, email=settings.email, profile=settings.profile, kind=kind)
        is_new_account = not self._certbot.folders.account(authority.server)
        if before and not keeper.wanting(self._certbot) and self._certbot.folders.server == authority.server:
            if before.is_due_at(keeper.clock()):
                keeper.spare_the_limit(self._certbot, server=authority.server, by_force=False)
            await self._renew(wish)
        else:
            await self._get_new(wish)
        new = self._certbot.certificate()
        if before and new and new.serial != before.serial:
            log.info("renewed: %s", describe(new))
        await keeper.tell_contact(self._certbot, wish, is_new_account=is_new_account)

    async def _renew(self, wish: Wish) -> None:
        def spare_the_limit() -> None:
            self._keeper.spare_the_limit(self._certbot, server=wish.authority.server, by_force=False)

        try:
            await self._certbot.get(wish, sparing=spare_the_limit)
        except IssueError as error:
            # What is wrong here for certain, such as the clock, says more than what certbot made of it.
            try:
                await self._look(wish)
            except PreflightError as cause:
                says = str(cause).removesuffix(NOT_ASKED)
                raise IssueError(f"{says}; certbot says: {error}", error.retry_at) from error
            raise

    async def _look(self, wish: Wish) -> None:
        doubts = (Verdict.SUSPICIOUS, Verdict.CANT_TELL)
        names, server = self._certbot.names, wish.authority.server
        await self._keeper.look(names, server=server, profile=wish.profile, shown=doubts)

    async def _get_new(self, wish: Wish) -> None:
        keeper = self._keeper
        server = wish.authority.server
        log.info("%s: getting one from %s", keeper.wanting(self._certbot) or "another authority is set", server)
        await self._look(wish)
        keeper.spare_the_limit(self._certbot, server=server, by_force=False)
        await keeper.get(self._certbot, wish, rehearsed=True)

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
