"""DNS: where the name leads, and who may issue certificates for it (CAA, RFC 8659)."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Sequence
from typing import Final

import dns.asyncresolver
import dns.exception
import dns.name
import dns.resolver

from callgate.core.units import SECONDS
from callgate.errors import CallgateError
from callgate.network.lookups import is_address

from .finding import Finding, ok, skipped, warning, wrong
from .world import Case

TIMEOUT: Final = 4 * SECONDS
AUTHORITY: Final = "letsencrypt.org"
AT_DNS: Final = "at whoever hosts the domain's DNS"


class DnsError(CallgateError):
    """A question that DNS does not answer. ``exists``: False where it says that there is no such name."""

    def __init__(self, why: str, *, exists: bool = True) -> None:
        super().__init__(why)
        self.exists = exists


async def addresses(case: Case) -> Sequence[Finding]:
    """Where BASE_URL's host leads."""
    host = case.host
    if case.world.edge is not None:
        case.addresses = ()
        return [skipped(f"the edge is looked at where it was said to be, {case.world.edge.host}")]
    if case.is_rehearsal or is_address(host):
        case.addresses = (host,) if is_address(host) else ()
        return [skipped("BASE_URL names no host that DNS knows")]
    try:
        v4, v6 = await asyncio.gather(_ask(case, host, "A"), _ask(case, host, "AAAA"))
    except DnsError as exc:
        return [wrong(f"{host} does not resolve: {exc}", "this machine's public address", _how_to_resolve(case, exc))]
    case.addresses = (*v4, *v6)
    if not case.addresses:
        found = f"{host} has neither an A nor an AAAA record"
        return [wrong(found, "this machine's public address", f"Set an A record {AT_DNS}")]
    inner = [address for address in case.addresses if not ipaddress.ip_address(address).is_global]
    if inner:
        return [
            wrong(
                f"{host} leads to {', '.join(inner)}, which is no public address",
                "this machine's public address: Twilio and Let's Encrypt come from outside",
                f"Correct the {'AAAA' if ':' in inner[0] else 'A'} record {AT_DNS}",
            )
        ]
    if not v4:
        found = f"{host} has only an AAAA record"
        return [warning(found, "an A record: Twilio may come over IPv4 only", f"Set an A record {AT_DNS}")]
    return [ok(f"{host} leads to {', '.join(case.addresses)}")]


def _how_to_resolve(case: Case, exc: DnsError) -> str:
    if case.is_tunnel:
        return "Start the tunnel, and see that BASE_URL is the address that it prints"
    if exc.exists:
        return f"Mend the domain's name servers {AT_DNS}; if other names fail here too, this machine's /etc/resolv.conf"
    return f"Set an A record {AT_DNS}; a new one takes some minutes. Is DOMAIN spelled right?"


async def authority(case: Case) -> Sequence[Finding]:
    """Whether CAA records let Let's Encrypt issue."""
    host = case.host
    if case.world.edge is not None or case.is_tunnel or is_address(host):
        return [skipped("no certificate is issued for this name from here")]
    if case.values.get("ACME_SERVER", "").strip():
        return [skipped("ACME_SERVER names another authority")]
    try:
        records = await _caa(case, host)
    except DnsError as exc:
        wanted = "an answer, be it that there are none: without it no authority issues"
        return [wrong(f"the CAA records of {host}: {exc}", wanted, f"Mend the domain's name servers {AT_DNS}")]
    issuers = [value for tag, value in records if tag == "issue"]
    if issuers and not any(_permits(value) for value in issuers):
        found = f"the CAA records of {host} let only {', '.join(issuers)} issue"
        do = f'Add the CAA record 0 issue "{AUTHORITY}" {AT_DNS}, or remove the others'
        return [wrong(found, f"{AUTHORITY} may issue: it renews the certificate", do)]
    return [ok(f"{AUTHORITY} may issue a certificate")]


async def _caa(case: Case, host: str) -> list[tuple[str, str]]:
    labels = host.split(".")
    for start in range(len(labels)):
        try:
            texts = await _ask(case, ".".join(labels[start:]), "CAA")
        except DnsError as exc:
            if exc.exists:
                raise
            texts = ()
        if texts:
            return [(tag.lower(), value.strip('"')) for _, tag, value in (text.split(maxsplit=2) for text in texts)]
    return []


def _permits(value: str) -> bool:
    issuer, *parameters = (part.strip() for part in value.split(";"))
    methods = [text.partition("=")[2] for text in parameters if text.startswith("validationmethods")]
    return issuer.lower() == AUTHORITY and all("http-01" in text.split(",") for text in methods)


async def _ask(case: Case, name: str, kind: str) -> tuple[str, ...]:
    try:
        answer = await _resolver(case).resolve(dns.name.from_text(name), kind)
    except dns.resolver.NoAnswer:
        return ()
    except dns.resolver.NXDOMAIN:
        raise DnsError("there is no such name", exists=False) from None
    except dns.resolver.NoNameservers:
        raise DnsError("its name servers fail (SERVFAIL)") from None
    except (dns.exception.DNSException, OSError):
        raise DnsError("its name servers do not answer") from None
    return tuple(record.to_text() for record in answer)


def _resolver(case: Case) -> dns.asyncresolver.Resolver:
    server = case.world.nameserver
    resolver = dns.asyncresolver.Resolver(configure=server is None)
    if server is not None:
        resolver.nameservers, resolver.port = [server.host], server.port
    resolver.lifetime = TIMEOUT
    return resolver
