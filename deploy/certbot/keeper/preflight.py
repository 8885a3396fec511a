"""Looks for problems that would keep a certificate from being issued, before the authority is asked. Changes nothing.

Each finding is *good*, *wrong* (it can't work), *suspicious* (it may not work), or *can't tell* from here.
"""

from __future__ import annotations

import asyncio
import email.utils
import enum
import errno
import ipaddress
import json
import os
import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from keeper import fetch
from keeper.certificate import is_address
from keeper.names import FAILURES, Caa, Names, Trouble, permits
from keeper.settings import Settings

CHALLENGE_FOLDER: Final = Path(".well-known") / "acme-challenge"
SPACE_WANTED: Final = 10_000_000  # bytes; a certificate, its key and certbot's logs need less than a tenth of this
# Let's Encrypt backdates certificates by an hour; browsers and telephones tolerate less.
CLOCK_SUSPICIOUS: Final = 60.0
CLOCK_WRONG: Final = 3600.0
# The name to look up after a failed DNS query, to see whether all queries fail, if the authority has no host name.
CONTROL: Final = "letsencrypt.org"
DEFAULT_IDENTITIES: Final = frozenset({"letsencrypt.org"})
NO_ROUTE: Final = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class Verdict(enum.Enum):
    """The verdict of a finding."""

    GOOD = "good"
    WRONG = "wrong"
    SUSPICIOUS = "suspicious"
    CANT_TELL = "can't tell"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check."""

    verdict: Verdict
    says: str

    def __str__(self) -> str:
        return f"{self.verdict.value}: {self.says}"


@dataclass(frozen=True, slots=True)
class Directory:
    """An authority's directory (RFC 8555, section 7.1.1), and the findings from fetching it."""

    findings: tuple[Finding, ...]
    identities: frozenset[str] = DEFAULT_IDENTITIES


GOOD, WRONG, SUSPICIOUS, CANT_TELL = Verdict.GOOD, Verdict.WRONG, Verdict.SUSPICIOUS, Verdict.CANT_TELL


async def preflight(
    settings: Settings, names: Sequence[str], *, server: str, profile: str, now: float
) -> list[Finding]:
    """Check everything. ``server``: the authority's directory URL; ``now``: Unix time."""
    authority = urlsplit(server).hostname or ""
    resolver = Names(settings.resolver, control=CONTROL if is_address(authority) else authority)
    host_names = [name for name in names if not is_address(name)]
    directory, looks, caa = await asyncio.gather(
        _look_at_authority(settings, server, profile, now),
        asyncio.gather(*(_look_at_name(settings, resolver, name) for name in names)),
        asyncio.gather(*(resolver.caa(name) for name in host_names)),
    )
    permissions = [_permission(name, *said, directory.identities) for name, said in zip(host_names, caa, strict=True)]
    disk = [_look_at_disk(folder) for folder in (settings.state, settings.published, settings.webroot)]
    return [*(f for findings in looks for f in findings), *permissions, *directory.findings, *disk]


# The name, and the server that answers there.


async def _look_at_name(settings: Settings, resolver: Names, name: str) -> list[Finding]:
    if is_address(name):
        return [_address(name, name), *await _look_at_port(settings, name, [name])]
    a, aaaa = await resolver.addresses(name)
    addresses = [*a.values, *aaaa.values]
    if not addresses:
        trouble = a.trouble or aaaa.trouble
        if trouble is Trouble.RESOLVER:
            return [Finding(CANT_TELL, f"whether {name} resolves: {trouble.value}")]
        why = trouble.value if trouble else "it has neither an A nor an AAAA record"
        return [Finding(WRONG, f"{name} does not resolve ({why}): set its A record to this machine's public address")]
    return [*(_address(name, address) for address in addresses), *await _look_at_port(settings, name, addresses)]


def _address(name: str, address: str) -> Finding:
    if not ipaddress.ip_address(address).is_global:
        return Finding(
            SUSPICIOUS, f"{name} is {address}: not a public address, so only an authority in this network can reach it"
        )
    return Finding(GOOD, f"{name} is {address}")


async def _look_at_port(settings: Settings, name: str, addresses: Sequence[str]) -> list[Finding]:
    folder = settings.webroot / CHALLENGE_FOLDER
    token = f"probe-{secrets.token_urlsafe(16)}"
    content = secrets.token_urlsafe(32)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / token).write_text(content)
        (folder / token).chmod(0o644)
    except OSError as error:
        return [
            Finding(
                WRONG,
                f"the webroot can't be written ({error.strerror}): make room on {folder}, or give it to this user",
            )
        ]
    try:
        return list(
            await asyncio.gather(*(_probe(settings.http_port, name, address, token, content) for address in addresses))
        )
    finally:
        (folder / token).unlink(missing_ok=True)


async def _probe(port: int, name: str, address: str, token: str, content: str) -> Finding:
    is_v6 = ":" in address
    where = f"port {port} of {address}"
    url = (
        f"http://{name}/{CHALLENGE_FOLDER}/{token}"
        if port == 80
        else f"http://{name}:{port}/{CHALLENGE_FOLDER}/{token}"
    )
    advice = (
        "the authority prefers IPv6: remove the AAAA record, or point it to this machine"
        if is_v6
        else ("open port 80 to the world, and check that the record points here; some routers refuse it from inside")
    )
    bad = WRONG if is_v6 else SUSPICIOUS
    try:
        answer = await fetch.get(url, connect_to=address)
    except TimeoutError:
        return Finding(bad, f"{where} does not answer: {advice}")
    except OSError as error:
        if error.errno in NO_ROUTE:
            return Finding(CANT_TELL, f"whether {where} is open: there is no route to it from here ({error.strerror})")
        return Finding(bad, f"{where} can't be reached ({os.strerror(error.errno or 0)}): {advice}")
    except ValueError as error:
        return Finding(bad, f"at {where}, {error}: {advice}")
    if answer.status == 200 and answer.body.decode(errors="replace") == content:
        return Finding(GOOD, f"{where} is answered by this machine")
    return Finding(bad, f"at {where} another server answers (status {answer.status}): {advice}")


def _permission(name: str, records: list[Caa], trouble: Trouble | None, identities: frozenset[str]) -> Finding:
    if trouble in FAILURES:
        return Finding(
            WRONG, f"CAA of {name}: {trouble.value}, so no authority will issue: repair the domain's DNS servers"
        )
    if trouble:
        return Finding(CANT_TELL, f"whether CAA permits {name}: {trouble.value}")
    authority = min(identities)
    if not permits(records, identities):
        return Finding(
            WRONG, f'the CAA records of {name} forbid {authority}: add 0 issue "{authority}", or remove them'
        )
    return Finding(GOOD, f"CAA permits {authority} to issue for {name}")


# The authority.


async def _look_at_authority(settings: Settings, server: str, profile: str, now: float) -> Directory:
    try:
        trust = ssl.create_default_context(cafile=settings.ca_bundle)
        answer = await fetch.get(server, trust=trust)
        meta = json.loads(answer.body).get("meta") if answer.status == 200 else None
        profiles, identities = frozenset((meta or {}).get("profiles") or ()), (meta or {}).get("caaIdentities") or ()
    except ssl.SSLCertVerificationError as error:
        return Directory(
            (Finding(SUSPICIOUS, f"the ACME server's certificate is not trusted here ({error.verify_message})"),)
        )
    except (OSError, ValueError, AttributeError) as error:
        why = str(error) or type(error).__name__
        says = f"the ACME server {server} can't be reached ({why}): see https://letsencrypt.status.io, and try later"
        return Directory((Finding(WRONG, says),))
    findings = [_directory(server, answer.status), *_clock(answer.date, now)]
    if profile and answer.status == 200 and profile not in profiles:
        offered = ", ".join(sorted(profiles)) or "none"
        findings.append(Finding(WRONG, f"the ACME server has no profile '{profile}': it offers {offered}"))
    return Directory(tuple(findings), frozenset(identities) or DEFAULT_IDENTITIES)


def _directory(server: str, status: int) -> Finding:
    if status != 200:
        return Finding(
            SUSPICIOUS, f"the ACME server {server} answers with status {status}: see https://letsencrypt.status.io"
        )
    return Finding(GOOD, f"the ACME server {server} answers")


def _clock(date: str, now: float) -> list[Finding]:
    try:
        off = now - email.utils.parsedate_to_datetime(date).timestamp()
    except ValueError:
        return [
            Finding(CANT_TELL, "whether this machine's clock is right: the ACME server does not say what time it is")
        ]
    if abs(off) < CLOCK_SUSPICIOUS:
        return [Finding(GOOD, "this machine's clock agrees with the ACME server's")]
    says = f"this machine's clock is {abs(off):.0f} s {'fast' if off > 0 else 'slow'}: set it by NTP"
    return [Finding(WRONG if abs(off) >= CLOCK_WRONG else SUSPICIOUS, says)]


# This machine.


def _look_at_disk(folder: Path) -> Finding:
    at = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        space = os.statvfs(at)
    except OSError as error:
        return Finding(CANT_TELL, f"how much room there is in {folder} ({error.strerror})")
    free = space.f_bavail * space.f_frsize
    if free < SPACE_WANTED or (space.f_files and not space.f_favail):
        return Finding(WRONG, f"the disk of {folder} is full ({free // 1000} kB free): make room on it")
    if not os.access(at, os.W_OK | os.X_OK):
        return Finding(WRONG, f"{folder} can't be written: give it to the user that the keeper runs as")
    return Finding(GOOD, f"there is room in {folder}")
