"""The ports: 443 for Twilio, 80 for the certificate authority, and both over IPv6 if DNS has an AAAA record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from callgate.operator.ask import UnreachableError, open_port

from .finding import Finding, ok, skipped, warning, wrong
from .world import Case

HTTPS: Final = 443
HTTP: Final = 80
START: Final = "Start the bundle: docker compose -f docker-compose.prod.yml up -d"
OPEN: Final = "open it in this machine's firewall and in the provider's security group"
FROM_INSIDE: Final = "Some routers refuse connections from inside to their own address: then try from another network"


async def https(case: Case) -> Sequence[Finding]:
    """Whether port 443 is open, where Twilio's webhooks and streams come in."""
    if case.world.edge is not None or case.is_rehearsal:
        return [await _tried(case, HTTPS, case.host)]
    return [await _tried(case, HTTPS, address) for address in _first_kind(case)]


async def http(case: Case) -> Sequence[Finding]:
    """Whether port 80 is open for the authority's validation requests, and does not redirect webhooks."""
    if case.world.edge is not None or case.is_tunnel or case.is_rehearsal:
        return [skipped("this machine does not obtain a certificate for this name")]
    found = [await _tried(case, HTTP, address) for address in _first_kind(case)]
    if any(finding.do for finding in found):
        return found
    return [*found, *await _webhook_in_the_clear(case)]


async def ipv6(case: Case) -> Sequence[Finding]:
    """Whether the address in an AAAA record answers. The authority prefers it, and Twilio may use it."""
    promised = [address for address in case.addresses if ":" in address]
    if not promised or len(promised) == len(case.addresses):
        return [skipped("the host does not have both an A and an AAAA record")]
    return [await _answers(case, address) for address in promised]


async def _answers(case: Case, address: str) -> Finding:
    for port in (HTTPS, *(() if case.is_tunnel else (HTTP,))):
        try:
            await open_port(case.world.route(address, port))
        except UnreachableError as exc:
            if exc.no_route:
                return warning(
                    f"{case.host} has an AAAA record, {address}, which can't be tried from here for lack of IPv6",
                    "the same answers there as at the A record: Let's Encrypt tries the AAAA record first",
                    "Remove the AAAA record, unless this machine answers there",
                )
            return wrong(
                f"{case.host} has an AAAA record, {address}, where port {port} does not answer: {exc}",
                "the same answers there as at the A record: Let's Encrypt tries the AAAA record first",
                "Remove the AAAA record, or make this machine answer there",
            )
    return ok(f"{address} also answers")


async def _tried(case: Case, port: int, address: str) -> Finding:
    at = case.world.edge or case.world.route(address, port)
    try:
        await open_port(at)
    except UnreachableError as exc:
        found = f"port {port} of {address} is closed: {exc}"
        return wrong(found, _why(port), f"{_start(case)}, or {OPEN}. {FROM_INSIDE}")
    return ok(f"port {port} of {address} is open")


def _why(port: int) -> str:
    if port == HTTPS:
        return "a port open to the internet: Twilio opens streams only on this one"
    return "a port open to the internet: Let's Encrypt needs it to issue and renew the certificate"


def _start(case: Case) -> str:
    return "Start the tunnel" if case.is_tunnel else START


def _first_kind(case: Case) -> list[str]:
    """Return the IPv4 addresses, or all addresses if there is no IPv4."""
    return [address for address in case.addresses if ":" not in address] or list(case.addresses)


async def _webhook_in_the_clear(case: Case) -> Sequence[Finding]:
    at = case.world.route(_first_kind(case)[0], HTTP)
    try:
        answer = await case.world.ask("POST", f"http://{case.host}/incoming-call", at=at, form={})
    except UnreachableError as exc:
        return [
            wrong(
                f"port 80 accepts connections, but does not answer for {case.host}: {exc}",
                "the bundle's nginx, started with this DOMAIN",
                "docker compose -f docker-compose.prod.yml up -d nginx; or see what listens: ss -ltnp 'sport = :80'",
            )
        ]
    if 300 <= answer.status < 400:
        return [
            wrong(
                f"http://{case.host}/incoming-call is redirected (status {answer.status})",
                "a refusal (403): a redirect breaks Twilio's signature, which hides the wrong address",
                "Find what listens on port 80: the bundle's nginx refuses such a request",
            )
        ]
    return []
