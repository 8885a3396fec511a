"""`keeper issue` and `keeper rollback`: one step by hand, showing everything that happens."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Final

from keeper.acme.certbot import Certbot, Wish
from keeper.attempt import attempt
from keeper.confirm import confirm
from keeper.domains import host_name
from keeper.errors import KeeperError, LimitError, UnservedError, UsageError
from keeper.keeper import Keeper
from keeper.labels import labelled
from keeper.pairs.certificate import Certificate, is_address
from keeper.settings import LETS_ENCRYPT, Authority, Settings
from keeper.words import REFUSED_BY_TWILIO, describe, when

LOCK_TIMEOUT: Final = 300.0
SHORT_LIVED: Final = "shortlived"

log = logging.getLogger("keeper")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A validated request for a certificate."""

    names: tuple[str, ...]
    wish: Wish
    staging: bool = False
    dry_run: bool = False

    @property
    def server(self) -> str:
        return self.wish.authority.server

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        domains: Sequence[str] = (),
        email: str | None = None,
        profile: str | None = None,
        ip: bool = False,
        staging: bool = False,
        dry_run: bool = False,
        force: bool = False,
    ) -> Request:
        """Check the options against the settings. Raises `UsageError`."""
        if settings.is_rehearsal:
            example = domains[0] if domains else "voice.example.com"
            raise UsageError(f"DOMAIN is not set, so nginx serves no domain yet: write DOMAIN={example} into .env")
        if settings.own_pair:
            raise UsageError(
                "TLS_CERTIFICATE is set, so no authority is asked, and the keeper's service publishes that file by "
                "itself: to get one from an authority, remove TLS_CERTIFICATE and TLS_KEY from .env"
            )
        for domain in domains:
            is_wildcard = domain.startswith("*.")
            name = host_name("--domain", domain.removeprefix("*."))
            if (f"*.{name}" if is_wildcard else name) not in settings.names:
                raise UsageError(
                    f"--domain {domain}: nginx serves only {', '.join(settings.names)}: write a further name into "
                    f".env, as in EXTRA_DOMAINS={name}, and run docker compose -f docker-compose.prod.yml up -d first"
                )
        names = settings.names
        _check_ip(names, ip)
        if staging and not settings.staging_server:
            raise UsageError(f"--staging: no staging server of {settings.server} is known: set ACME_STAGING_SERVER")
        chosen = settings.profile if profile is None else profile
        return cls(
            names=names,
            wish=Wish(
                authority=Authority(settings.staging_server) if staging else settings.authorities[0],
                email=settings.email if email is None else email,
                profile=chosen or (SHORT_LIVED if ip and settings.server == LETS_ENCRYPT else ""),
                force=force,
            ),
            staging=staging,
            dry_run=dry_run,
        )


def _check_ip(names: Sequence[str], ip: bool) -> None:
    addresses = [name for name in names if is_address(name)]
    if ip and not addresses:
        raise UsageError(f"--ip is for an IPv4 address, and {names[0]} is a host name: leave --ip out")
    if addresses and not ip:
        raise UsageError(
            f"{addresses[0]} is an IP address: if that is meant, add --ip (the certificate lives for days only, and "
            "nginx needs EDGE_REQUIRE_SNI=off)"
        )


async def issue(keeper: Keeper, request: Request) -> None:
    """Carry out the request, for each kind of key. Raises a KeeperError."""
    async with keeper.store.lock(LOCK_TIMEOUT):
        is_unserved = False
        for one in keeper.all:
            with labelled(one.label):
                try:
                    await _carry_out(one, request)
                except UnservedError:
                    if one.second is None:
                        raise
                    is_unserved = True  # perhaps because nginx lacks the second one, which it needs for each handshake
        if is_unserved:
            with labelled(keeper.label):
                await confirm(keeper)


async def _carry_out(keeper: Keeper, request: Request) -> None:
    state = keeper.settings.state / "staging" if request.staging else None
    certbot = keeper.certbot(request.names, state=state, staging=request.staging or keeper.is_staging)
    if request.dry_run:
        await _rehearse_only(keeper, request)
    elif not request.wish.force and (good := _good(keeper, certbot, request)):
        # What is held back, like a real certificate while a staging one was tried, is published now.
        is_held_back = keeper.recall().held_back == good.serial_hex
        if not is_held_back and keeper.is_better(published := keeper.published.certificate(), good):
            log.warning("what is published is newer than what certbot keeps, so it stays")
            good = published or good
            await confirm(keeper)
        else:
            await _put_up(keeper, certbot, request)
            await confirm(keeper)
        log.info("the certificate is good, so no new one was requested: %s", describe(good))
    else:
        await _issue(keeper, certbot, request)


def _good(keeper: Keeper, certbot: Certbot, request: Request) -> Certificate | None:
    kept = certbot.certificate()
    is_of_authority = certbot.folders.server == request.server or (
        not request.staging and keeper.issuer_of(certbot) is not None
    )
    if kept is None or not is_of_authority or keeper.wanting(certbot):
        return None
    return None if kept.is_due_at(keeper.clock()) else kept


async def _rehearse_only(keeper: Keeper, request: Request) -> None:
    staging = keeper.settings.staging_server
    authority = Authority(staging) if staging else request.wish.authority
    server = authority.server
    log.info("looking for problems beforehand; nothing is changed")
    await keeper.look(request.names, server=server, profile=request.wish.profile)
    log.info("rehearsing at %s; its certificate is discarded", server)
    await keeper.rehearse(request.names, replace(request.wish, authority=authority))
    log.info("the rehearsal went well; nothing that is served or kept was changed")


async def _issue(keeper: Keeper, certbot: Certbot, request: Request) -> None:
    wish = request.wish

    async def ask(authority: Authority) -> None:
        await _look(keeper, certbot, request, authority)
        await _get(keeper, certbot, request, authority)

    is_alone = request.staging or len(keeper.authorities_now()) == 1
    if is_alone:  # what is found beforehand is then no failure of the service's
        await _look(keeper, certbot, request, wish.authority)
    interrupted = "issuing by hand was interrupted"
    # A staging server's failures, and its successes, say nothing about the real one.
    trying = nullcontext() if request.staging else attempt(keeper, certbot, interrupted=interrupted, anyway=wish.force)
    with trying:
        if is_alone:
            await _get(keeper, certbot, request, wish.authority)
        else:
            await keeper.ask_in_turn(ask)
        await _put_up(keeper, certbot, request)
    is_served = await confirm(keeper) is not None
    if is_served and (got := certbot.certificate()):
        log.info("served now, by the handshake: %s", describe(got))
    if request.staging:
        log.warning("THIS IS A STAGING CERTIFICATE, AND NOBODY TRUSTS IT. %s.", REFUSED_BY_TWILIO)
        log.warning("A real one replaces it at the keeper's next check, or now if you run this without --staging.")


async def _look(keeper: Keeper, certbot: Certbot, request: Request, authority: Authority) -> None:
    log.info("looking for problems beforehand; nothing is changed")
    await keeper.look(request.names, server=authority.server, profile=request.wish.profile)
    ladder, now = keeper.recall().ladder, keeper.clock()
    if authority.server == keeper.settings.server and ladder.forbidden(now) and not request.wish.force:
        until = when(ladder.not_before)
        raise LimitError(f"the authority asked to be left alone until {until}: wait until then (--force asks anyway)")
    keeper.spare_the_limit(certbot, server=authority.server, by_force=request.wish.force)


async def _get(keeper: Keeper, certbot: Certbot, request: Request, authority: Authority) -> None:
    wish = replace(request.wish, authority=authority, kind=keeper.wanted_kind(certbot.certificate()))
    is_new_account = not certbot.folders.account(authority.server)
    await keeper.get(certbot, wish, rehearsed=not request.staging)
    if not request.staging:
        await keeper.tell_contact(certbot, wish, is_new_account=is_new_account)


async def _put_up(keeper: Keeper, certbot: Certbot, request: Request) -> None:
    """Publish what certbot keeps."""
    is_staging = request.staging or keeper.is_staging
    await keeper.published.publish(certbot.folders.lineage, names=request.names, staging=is_staging)
    # With --staging, keep the service from replacing it at once with the real certificate, if there is one.
    real = keeper.certbot(request.names).certificate() if request.staging else None
    tried = certbot.certificate() if request.staging else None
    keeper.remember(
        replace(
            keeper.recall(),
            held_back=real.serial_hex if real else "",
            staged=tried.serial_hex if tried else "",
        )
    )


async def rollback(keeper: Keeper) -> None:
    """Publish the pairs again that were published before the current ones. Raises a KeeperError, that of the last one
    for which it was not possible."""
    failed: KeeperError | None = None
    if keeper.settings.own_pair:
        raise UsageError("TLS_CERTIFICATE is set, so what is published follows that file: put the other one there")
    async with keeper.store.lock(LOCK_TIMEOUT):
        for one in keeper.all:
            try:
                with labelled(one.label):
                    await _roll_back(one)
            except KeeperError as error:
                failed = error
    if failed:
        raise failed


async def _roll_back(keeper: Keeper) -> None:
    left = keeper.published.certificate()
    back = keeper.published.swap(keeper.clock(), keeper.settings.domain)
    newest = keeper.certbot().certificate()
    is_newest = newest is not None and newest.serial == back.serial
    held_back = "" if is_newest or newest is None else newest.serial_hex
    keeper.remember(replace(keeper.recall(), held_back=held_back))
    if await confirm(keeper):
        log.info("served now, by the handshake: %s", describe(back))
    undo = f"serial {left.serial_hex}" if left else "the one before"
    log.info("to undo this (back to %s), run --rollback again; the next renewal is published as usual", undo)
