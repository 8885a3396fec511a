"""Looks up a name in DNS: its addresses, and who may issue certificates for it (CAA, RFC 8659)."""

from __future__ import annotations

import asyncio
import enum
import socket
from dataclasses import dataclass
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from keeper.errors import UsageError
from keeper.settings import Address

TIMEOUT: Final = 3.0


class Trouble(enum.Enum):
    """Why a query has no answer."""

    NXDOMAIN = "the name does not exist"
    SERVFAIL = "its DNS servers fail (SERVFAIL)"
    TIMEOUT = "its DNS servers do not answer"
    RESOLVER = "no DNS server answers here"


FAILURES: Final = (Trouble.SERVFAIL, Trouble.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Records:
    """The answer to one query. No records and no trouble: the name has none of this type."""

    values: tuple[str, ...] = ()
    trouble: Trouble | None = None


@dataclass(frozen=True, slots=True)
class Caa:
    """One CAA record."""

    tag: str
    value: str


class Names:
    """Queries a DNS server; without ``server``, those that this machine is configured for.

    ``control``: a name to look up when another query has failed. If that fails too, the resolver itself is broken.
    """

    def __init__(self, server: Address | None, *, control: str) -> None:
        self._control = control
        self._resolver = _resolver(server)
        self._resolver.lifetime = TIMEOUT

    async def addresses(self, name: str) -> tuple[Records, Records]:
        """Return the A and AAAA records."""
        a, aaaa = await asyncio.gather(self.ask(name, "A"), self.ask(name, "AAAA"))
        return a, aaaa

    async def ask(self, name: str, kind: str) -> Records:
        """Send one query."""
        records = await self._ask(name, kind)
        if records.trouble in FAILURES and (await self._ask(self._control, kind)).trouble in FAILURES:
            return Records(trouble=Trouble.RESOLVER)
        return records

    async def _ask(self, name: str, kind: str) -> Records:
        try:
            answer = await self._resolver.resolve(dns.name.from_text(name), kind)
        except dns.resolver.NoAnswer:
            return Records()
        except dns.resolver.NXDOMAIN:
            return Records(trouble=Trouble.NXDOMAIN)
        except dns.resolver.NoNameservers:
            return Records(trouble=Trouble.SERVFAIL)
        except (dns.exception.DNSException, OSError):
            return Records(trouble=Trouble.TIMEOUT)
        return Records(tuple(record.to_text() for record in answer))

    async def caa(self, name: str) -> tuple[list[Caa], Trouble | None]:
        """Return the CAA records that apply to a name: its own, or else those of the nearest parent that has any."""
        labels = name.split(".")
        for start in range(len(labels)):
            records = await self.ask(".".join(labels[start:]), "CAA")
            if records.trouble and records.trouble is not Trouble.NXDOMAIN:
                return [], records.trouble
            if records.values:
                return [_caa(value) for value in records.values], None
        return [], None


def _resolver(server: Address | None) -> dns.asyncresolver.Resolver:
    if server is None:
        try:
            return dns.asyncresolver.Resolver()
        except dns.resolver.NoResolverConfiguration:
            server = Address("127.0.0.1", 53)  # as resolv.conf(5) says
    resolver = dns.asyncresolver.Resolver(configure=False)
    try:
        resolver.nameservers = [socket.gethostbyname(server.host)]
    except OSError as error:
        raise UsageError(f"KEEPER_RESOLVER is '{server}': {server.host} is not known here ({error})") from error
    resolver.port = server.port
    return resolver


def _caa(text: str) -> Caa:
    _, tag, value = text.split(maxsplit=2)
    return Caa(tag.lower(), value.strip('"'))


def permits(records: list[Caa], identities: frozenset[str]) -> bool:
    """Whether the CAA records let the authority with these identities issue by http-01."""
    issue = [record.value for record in records if record.tag == "issue"]
    return not issue or any(_permits(value, identities) for value in issue)


def _permits(value: str, identities: frozenset[str]) -> bool:
    authority, *parameters = (part.strip() for part in value.split(";"))
    wanted = [p.partition("=")[2] for p in parameters if p.partition("=")[0].strip() == "validationmethods"]
    return authority.lower() in identities and all("http-01" in methods.split(",") for methods in wanted)
