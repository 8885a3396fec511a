"""Looks for problems that would keep a certificate from being issued, before the authority is asked. Changes nothing.

Only what can't work, whatever the authority sees, is *wrong*: this machine's disk and clock, and what the authority
itself said. What this machine sees of the network and of DNS may be different for the authority: the network may have
DNS servers of its own, may let nobody but a proxy out, or may not let a machine connect to its own public address. All
of that is *suspicious* at most, CAA records included. The second opinion is the authority's: the rehearsal with its
staging server, whose failures count against no limit that matters.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from keeper.errors import UsageError
from keeper.look.authority import Directory, get_directory, look_at_directory
from keeper.look.caa import Caa, permits
from keeper.look.clock import look_at_clock
from keeper.look.finding import Finding, cant_tell, good, suspicious, wrong
from keeper.look.finding import Verdict as Verdict
from keeper.look.names import Names, Records, Trouble
from keeper.look.port import CHALLENGE_FOLDER, Probe, look_at_port, probe_file
from keeper.pairs.certificate import is_address
from keeper.settings import HTTP_01, Settings

SPACE_WANTED: Final = 10_000_000  # bytes; a certificate, its key and certbot's logs need less than a tenth of this
# The name to look up after a failed DNS query, to see whether all queries fail, if the authority has no host name.
CONTROL: Final = "letsencrypt.org"
WILDCARD: Final = "*."


async def preflight(
    settings: Settings, names: Sequence[str], *, server: str, profile: str, now: float, challenge: str = HTTP_01
) -> list[Finding]:
    """Check everything. ``server``: the authority's directory URL; ``now``: Unix time; ``challenge``: how the names
    are to be proved. Addresses and ports are looked at for http-01 only."""
    names = list(dict.fromkeys(name.lower().removesuffix(".") for name in names))
    resolver, complaints = await _resolver(settings, server)
    if challenge == HTTP_01:
        reached = _look_at_names(settings, resolver, [name for name in names if not name.startswith(WILDCARD)])
    else:
        reached = _nothing()
    directory, looks, caa = await asyncio.gather(
        get_directory(settings, server),
        reached,
        asyncio.gather(*(resolver.nearest_caa(name.removeprefix(WILDCARD)) for name in names if not is_address(name))),
    )
    permissions = [
        _permission(name, at, records, directory, challenge)
        for name, (at, records) in zip((name for name in names if not is_address(name)), caa, strict=True)
    ]
    clock = look_at_clock(directory, settings, now)
    return [
        clock,
        *complaints,
        *looks,
        *permissions,
        *look_at_directory(directory, profile, clock=clock.verdict),
        *(_look_at_disk(folder) for folder in (settings.state, settings.published)),
    ]


async def _resolver(settings: Settings, server: str) -> tuple[Names, list[Finding]]:
    authority = urlsplit(server).hostname or ""
    control = CONTROL if is_address(authority) or ":" in authority else authority
    try:
        return await Names.at(settings.resolver, control=control), []
    except UsageError as error:
        return await Names.at(None, control=control), [suspicious(str(error))]


async def _nothing() -> list[Finding]:
    return []


# The names, and the server that answers at them.


async def _look_at_names(settings: Settings, resolver: Names, names: Sequence[str]) -> list[Finding]:
    disk = _look_at_disk(settings.webroot)
    if disk.verdict is Verdict.WRONG:
        return [disk]
    try:
        with probe_file(settings.webroot) as probe:
            looks = await asyncio.gather(*(_look_at_name(settings, resolver, probe, name) for name in names))
    except OSError as error:
        folder = settings.webroot / CHALLENGE_FOLDER
        return [wrong(f"{folder} can't be written ({error.strerror}): make room on it, or give it to this user")]
    return [*(finding for findings in looks for finding in findings), disk]


async def _look_at_name(settings: Settings, resolver: Names, probe: Probe, name: str) -> list[Finding]:
    if is_address(name):
        addresses: list[str] = [name]
    else:
        a, aaaa = await resolver.addresses(name)
        addresses = [record.address for records in (a, aaaa) for record in records.values]
        if not addresses:
            return [_unresolved(name, a if a.trouble else aaaa)]
    ports = (look_at_port(probe, name=name, address=at, port=settings.http_port) for at in addresses)
    return [*(_address(name, at) for at in addresses), *await asyncio.gather(*ports)]


def _unresolved(name: str, records: Records) -> Finding:
    if records.trouble is Trouble.RESOLVER:
        return cant_tell(f"whether {name} resolves: {records.why}")
    why = records.why or "it has neither an A nor an AAAA record"
    return suspicious(
        f"{name} does not resolve here ({why}): set its A record to this machine's public address, unless it resolves "
        "outside this network"
    )


def _address(name: str, address: str) -> Finding:
    if not ipaddress.ip_address(address).is_global:
        return suspicious(
            f"{name} is {address} here, which is not a public address: outside this network it must be another one, "
            "unless the authority is inside"
        )
    return good(f"{name} is {address}")


def _permission(name: str, at: str, records: Records, directory: Directory, challenge: str) -> Finding:
    identities = directory.caa_identities
    if records.trouble is Trouble.RESOLVER:
        return cant_tell(f"whether CAA records permit {name}: {records.why}")
    if records.trouble:
        return suspicious(
            f"the CAA records of {at} can't be read here ({records.why}): the authority does not issue if it can't "
            "read them either; check the domain's DNS servers"
        )
    if not records.values:
        return good(f"no CAA record limits who may issue for {name}")
    if not identities:
        return cant_tell(f"whether the CAA records of {at} permit {directory.url}: it does not say its name for CAA")
    authority, is_wildcard = min(identities), name.startswith(WILDCARD)
    if permits(Caa.of(records.values), identities, wildcard=is_wildcard, challenge=challenge):
        return good(f"the CAA records of {at} permit {authority} to issue for {name}")
    tag = "issuewild" if is_wildcard else "issue"
    return suspicious(
        f"the CAA records of {at}, as seen here, forbid {authority} to issue for {name} by {challenge}: add 0 {tag} "
        f'"{authority}", or remove them'
    )


# This machine.


def _look_at_disk(folder: Path) -> Finding:
    try:
        at = next(path for path in _upwards(folder) if path.exists())
        space = os.statvfs(at)
    except OSError as error:
        return cant_tell(f"how much room there is in {folder} ({error.strerror})")
    free = space.f_bavail * space.f_frsize
    if free < SPACE_WANTED or (space.f_files and not space.f_favail):
        return wrong(f"the disk of {folder} is full ({free // 1000} kB free): make room on it")
    if not os.access(at, os.W_OK | os.X_OK):
        return wrong(f"{folder} can't be written: give it to the user that the keeper runs as")
    return good(f"there is room in {folder}")


def _upwards(folder: Path) -> Iterable[Path]:
    return (folder, *folder.parents)
