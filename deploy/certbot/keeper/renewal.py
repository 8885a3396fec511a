"""What the service asks of certbot at one look, and of which authority."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from keeper.acme.certbot import Certbot, Wish
from keeper.errors import IssueError, PreflightError
from keeper.keeper import NOT_ASKED, Keeper
from keeper.look.preflight import Verdict
from keeper.settings import Authority
from keeper.words import describe

log: Final = logging.getLogger("keeper")


class Renewal:
    """Gets one certificate, when it is due and before: certbot is asked at each look, because it knows what the
    authority says about earlier renewals."""

    def __init__(self, keeper: Keeper, certbot: Certbot) -> None:
        self._keeper = keeper
        self._certbot = certbot

    async def get(self) -> None:
        """Get what is due, from the authority whose turn it is. Raises a KeeperError."""
        keeper = self._keeper
        published = keeper.published.certificate()
        if published and keeper.is_trial(published):
            keeper.remember(replace(keeper.recall(), held_back=""))
        kept, issuer = self._certbot.certificate(), keeper.issuer_of(self._certbot)
        wanting = keeper.wanting(self._certbot)
        if kept and wanting and kept.valid_at(keeper.clock()) and keeper.recall().faulty == kept.serial_hex:
            says = "no further one is asked for: mend its cause, and run scripts/issue-cert.sh --force"
            raise IssueError(f"the authority issued what is of no use here ({wanting}); {says}")
        if kept and issuer and not wanting and not kept.is_due_at(keeper.clock()):
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
