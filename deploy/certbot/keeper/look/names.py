"""Looks up a name in DNS, as this machine sees it: its addresses, and its CAA records (RFC 8659).

The authority may see something else: many networks have DNS servers of their own for their inside (split DNS).
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import dns.asyncresolver
import dns.exception
import dns.inet
import dns.name
import dns.rcode
import dns.resolver

from keeper.errors import UsageError
from keeper.settings import Address

TIMEOUT: Final = 3.0
RESOLV_CONF: Final = Path("/etc/resolv.conf")
NO_NAMESERVER: Final = "127.0.0.1"  # what resolv.conf(5) says of a file that names none


class Trouble(enum.Enum):
    """Why a query has no answer."""

    NXDOMAIN = "the name does not exist"
    FAILURE = "its DNS servers fail"
    TIMEOUT = "its DNS servers do not answer"
    RESOLVER = "no DNS server answers here"
    UNUSABLE = "the answer of its DNS servers can't be used"


FAILURES: Final = (Trouble.FAILURE, Trouble.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Records:
    """The answer to one query. No records and no trouble: the name has none of this type. ``why``: of the trouble."""

    values: tuple[Any, ...] = ()
    trouble: Trouble | None = None
    why: str = ""

    @classmethod
    def none(cls, trouble: Trouble, why: str = "") -> Self:
        return cls(trouble=trouble, why=why or trouble.value)


class Names:
    """Queries DNS servers. ``control``: a name to look up when a query has failed. If that fails too, the fault is not
    with the name."""

    def __init__(self, servers: Sequence[str], port: int = 53, *, control: str) -> None:
        self._control = control
        # Nothing but the servers is taken from resolv.conf: dnspython refuses the whole file for one bad line.
        self._resolver = dns.asyncresolver.Resolver(configure=False)
        self._resolver.nameservers = list(servers)
        self._resolver.port = port
        self._resolver.lifetime = TIMEOUT

    @classmethod
    async def at(cls, server: Address | None, *, control: str) -> Self:
        """Query ``server``; without one, those that this machine is configured for. Raises `UsageError`."""
        if server is None:
            return cls(configured(), control=control)
        if dns.inet.is_address(server.host):
            return cls([server.host], server.port, control=control)
        try:
            found = await asyncio.get_running_loop().getaddrinfo(server.host, server.port)
        except (OSError, UnicodeError) as error:
            raise UsageError(
                f"KEEPER_RESOLVER is '{server}', and {server.host} is not known here: write its address, or unset it"
            ) from error
        return cls([str(found[0][4][0])], server.port, control=control)

    async def addresses(self, name: str) -> tuple[Records, Records]:
        """Return the A and AAAA records."""
        a, aaaa = await asyncio.gather(self.ask(name, "A"), self.ask(name, "AAAA"))
        return a, aaaa

    async def nearest_caa(self, name: str) -> tuple[str, Records]:
        """Return the CAA records that apply to a name, and whose they are: its own, or those of the nearest parent."""
        labels = name.split(".")
        for start in range(len(labels)):
            at = ".".join(labels[start:])
            records = await self.ask(at, "CAA")
            if records.values or records.trouble not in (None, Trouble.NXDOMAIN):
                return at, records
        if records.trouble:  # not even the top-level domain exists
            return at, Records.none(Trouble.RESOLVER, f"the DNS servers here do not know {at}, and so not the internet")
        return name, records

    async def ask(self, name: str, kind: str) -> Records:
        """Send one query."""
        records = await self._ask(name, kind)
        if records.trouble in FAILURES and (await self._ask(self._control, kind)).trouble in FAILURES:
            return Records.none(Trouble.RESOLVER)
        return records

    async def _ask(self, name: str, kind: str) -> Records:
        try:
            answer = await self._resolver.resolve(dns.name.from_text(name), kind)
        except dns.resolver.NoAnswer:
            return Records()
        except dns.resolver.NXDOMAIN as error:
            return Records.none(Trouble.NXDOMAIN, _no_such_name(name, error))
        except dns.resolver.NoNameservers as error:
            return _no_servers(error)
        except (dns.exception.Timeout, OSError):
            return Records.none(Trouble.TIMEOUT)
        except dns.exception.DNSException as error:  # such as a name that is its own alias
            return Records.none(Trouble.UNUSABLE, f"{Trouble.UNUSABLE.value} ({type(error).__name__})")
        return Records(tuple(answer))


def configured(file: Path = RESOLV_CONF) -> list[str]:
    """Return the DNS servers that resolv.conf names, whatever else is in it."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    words = [line.split() for line in lines]
    named = [line[1] for line in words if line[:1] == ["nameserver"] and len(line) > 1]
    return [server for server in named if dns.inet.is_address(server)] or [NO_NAMESERVER]


def _no_such_name(name: str, error: dns.resolver.NXDOMAIN) -> str:
    meant = error.canonical_name.to_text(omit_final_dot=True)
    if meant.lower() == name.lower():
        return Trouble.NXDOMAIN.value
    return f"it is an alias of {meant}, which does not exist"


def _no_servers(error: dns.resolver.NoNameservers) -> Records:
    responses = [response for *_, response in error.kwargs["errors"] if response is not None]
    if not responses:  # nothing was received from any server
        return Records.none(Trouble.TIMEOUT)
    said = sorted({dns.rcode.to_text(response.rcode()) for response in responses})
    if said == ["NOERROR"]:
        return Records.none(Trouble.UNUSABLE)
    return Records.none(Trouble.FAILURE, f"{Trouble.FAILURE.value} ({', '.join(said)})")
