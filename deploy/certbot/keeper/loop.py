"""`keeper run`: the service, which looks after the certificate. No error ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from keeper import alarm
from keeper.attempt import attempt
from keeper.confirm import confirm
from keeper.errors import BusyError, IssueError, KeeperError, UnservedError
from keeper.keeper import Keeper
from keeper.labels import labelled
from keeper.ladder import Ladder
from keeper.pairs import certificate
from keeper.pairs.certificate import Certificate
from keeper.pairs.own import OwnCertificate
from keeper.rehearsal import keep_self_signed
from keeper.renewal import Renewal
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
        self._renewal = Renewal(keeper, self._certbot)
        self._second = Service(keeper.second) if keeper.second else None
        own = settings.own_pair
        self._own = OwnCertificate(own, keeper.published, settings.names) if own else None
        self._confirmed: int | None = None
        self._repeated: int | None = None  # the serial number that was published once more
        self._publish_again_at = 0.0
        self._complaint = ""
        self._unwritable: dict[str, str] = {}
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
            # No state can be kept, so this alarm is remembered here.
            says = f"CERTBOT_STATE can't be written ({error}): make room on it, or give it to this user"
            alarm.tell(self._unwritable, {alarm.UNWRITABLE: says})
            self._unwritable = {alarm.UNWRITABLE: says}
        else:
            alarm.tell(self._unwritable, {})
            self._unwritable = {}

    async def _do_what_is_due(self) -> None:
        trouble = ""
        try:
            await self._keep()
        except KeeperError as error:
            trouble = str(error)
        except OSError as error:
            trouble = f"a folder can't be read or written ({error}): make room on it, or give it to this user"
        except Exception as error:
            log.exception("a fault of the keeper's own; it goes on")
            trouble = f"a fault of the keeper's own ({error!r}): see its log"
        self._complain(trouble)
        self._raise_alarms(trouble)

    async def _keep(self) -> None:
        if self._own:
            (self._keeper.settings.rehearsal / "ca.pem").unlink(missing_ok=True)
            if new := await self._own.publish():
                log.info("published: %s", describe(new))
        elif self._keeper.settings.is_rehearsal:
            await keep_self_signed(self._keeper)
        else:
            await self._keep_issued()
        await self._confirm()

    def _raise_alarms(self, trouble: str) -> None:
        keeper = self._keeper
        if self._own and self._own.is_settling:
            return
        before = keeper.recall()
        state = replace(before, trouble=trouble)
        published, name = keeper.published.certificate(), keeper.settings.domain
        found = alarm.alarms(state, published, name, keeper.clock(), label=keeper.label)
        if found.keys() != before.alarms.keys() or trouble != before.trouble:
            alarm.tell(before.alarms, found)
            keeper.remember(replace(state, alarms=found))

    def _complain(self, what: str) -> None:
        if what and what != self._complaint:
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
        with attempt(self._keeper, self._certbot, interrupted="the last try was interrupted", told=self._told):
            await self._renewal.get()
            if self._keeper.issuer_of(self._certbot) is None:  # then the next look would ask for another one
                raise IssueError("certbot was done, but does not know which authority issued: see letsencrypt.log")
            await self._publish_what_is_kept()
        self._confirmed = None
        log.info("all is well; next check %s", when(self._keeper.recall().ladder.next_try))

    def _told(self, error: KeeperError, ladder: Ladder) -> None:
        self._complain(f"{error} (failure {ladder.failures}; next try {when(ladder.next_try)})")
        self._complaint = str(error)
