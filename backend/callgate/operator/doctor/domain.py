"""DNS: the addresses of the host name, and who may issue certificates for it (CAA, RFC 8659)."""

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
AT_DNS: Final = "at the domain's DNS provider"


class DnsError(CallgateError):
    """A DNS query failed. ``exists``: False if the answer was that there is no such name (NXDOMAIN)."""

    def __init__(self, why: str, *, exists: bool = True) -> None:
        super().__init__(why)
        self.exists = exists


async def addresses(case: Case) -> Sequence[Finding]:
    """Whether BASE_URL's host resolves to public addresses."""
    host = case.host
    if case.world.edge is not None:
        case.addresses = ()
        return [skipped(f"DNS is not used: the checks connect to {case.world.edge.host}, as requested")]
    if case.is_rehearsal or is_address(host):
        case.addresses = (host,) if is_address(host) else ()
        return [skipped("BASE_URL has no host name to look up in DNS")]
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
                f"{host} resolves to {', '.join(inner)}, which is not a public address",
                "this machine's public address: Twilio and Let's Encrypt connect from the internet",
                f"Correct the {'AAAA' if ':' in inner[0] else 'A'} record {AT_DNS}",
            )
        ]
    if not v4:
        found = f"{host} has only an AAAA record"
        return [warning(found, "an A record too: Twilio may use IPv4 only", f"Set an A record {AT_DNS}")]
    return [ok(f"{host} resolves to {', '.join(case.addresses)}")]


def _how_to_resolve(case: Case, exc: DnsError) -> str:
    if case.is_tunnel:
        return "Start the tunnel, and set BASE_URL to the address that it prints"
    if exc.exists:
        return f"Fix the name servers {AT_DNS}; if other names fail here too, fix this machine's /etc/resolv.conf"
    return f"Set an A record {AT_DNS}; a new one takes a few minutes. Is DOMAIN spelled correctly?"


async def authority(case: Case) -> Sequence[Finding]:
    """Whether the CAA records let Let's Encrypt issue certificates."""
    host = case.host
    if case.world.edge is not None or case.is_tunnel or is_address(host):
        return [skipped("this machine does not obtain a certificate for this name")]
    if case.values.get("ACME_SERVER", "").strip():
        return [skipped("ACME_SERVER names an authority other than Let's Encrypt")]
    try:
        records = await _caa(case, host)
    except DnsError as exc:
        wanted = "an answer, even that there are none: without one, no authority issues certificates"
        return [wrong(f"the CAA records of {host} can't be read: {exc}", wanted, f"Fix the name servers {AT_DNS}")]
    issuers = [value for tag, value in records if tag == "issue"]
    if issuers and not any(_permits(value) for value in issuers):
        found = f"the CAA records of {host} let only {', '.join(issuers)} issue certificates"
        do = f'Add the CAA record 0 issue "{AUTHORITY}" {AT_DNS}, or remove the others'
        return [wrong(found, f"permission for {AUTHORITY}, which renews the certificate", do)]
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
