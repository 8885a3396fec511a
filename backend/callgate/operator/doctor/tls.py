"""The certificate as Twilio sees it: errors 11235 to 11237 and 31910 of https://www.twilio.com/docs/api/errors."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from callgate.peers.phone.http import tls_reason

from .finding import Finding, ok, skipped, warning, wrong
from .handshake import only_tls_1_2, shake_hands, unjudging
from .world import Case

STAGING: Final = "(STAGING)"  # the prefix in the names of Let's Encrypt's untrusted authorities
SELF_SIGNED: Final = "Callgate self-signed"  # the organisation in the keeper's self-signed certificates
EXPIRED: Final = frozenset({9, 10})  # X509_V_ERR_CERT_NOT_YET_VALID, X509_V_ERR_CERT_HAS_EXPIRED
WRONG_NAME: Final = frozenset({62, 64})  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
# certbot renews when a third of the lifetime is left, or half of a short one. Below this share, it has failed for days.
SHARE_OVERDUE: Final = 1 / 4

TWILIO_WANTS: Final = "a certificate that Twilio trusts"
ISSUE: Final = "Run scripts/issue-cert.sh"


async def certificate(case: Case) -> Sequence[Finding]:
    """Whether Twilio would accept the certificate: TLS 1.2, a trusted and complete chain, this name, not expired."""
    try:
        chain = await shake_hands(case.edge, case.host, only_tls_1_2())
    except (OSError, ValueError) as exc:
        return [await _no_handshake(case, exc)]
    if not chain:
        return [wrong("the server sent no certificate", TWILIO_WANTS, ISSUE)]
    case.certificate = chain[0]
    leaf = x509.load_der_x509_certificate(chain[0])
    try:
        await shake_hands(case.edge, case.host, case.world.trust())
    except ssl.SSLCertVerificationError as exc:
        return [_judged(case, exc, leaf, len(chain))]
    except OSError as exc:
        return [wrong(f"the TLS handshake failed: {tls_reason(exc)}", TWILIO_WANTS, _issue(case))]
    until = leaf.not_valid_after_utc
    return [
        ok(f"Twilio trusts it: {_issuer(leaf)}, until {until:%Y-%m-%d}; the server speaks TLS 1.2 with a full chain")
    ]


async def _no_handshake(case: Case, exc: Exception) -> Finding:
    try:
        await shake_hands(case.edge, case.host, unjudging())
    except (OSError, ValueError):
        found = f"the TLS handshake for {case.host} failed: {tls_reason(exc)}"
        do = f"{_issue(case)}. Is DOMAIN the name that nginx was started with?"
        return wrong(found, "a certificate for this name", do)
    return wrong(
        f"the server does not speak TLS 1.2: {tls_reason(exc)}",
        "TLS 1.2 as well as 1.3: Twilio does not document that it speaks newer versions",
        "Allow it with ssl_protocols TLSv1.2 TLSv1.3, as in deploy/nginx/snippets/tls.conf",
    )


def _judged(case: Case, exc: ssl.SSLCertVerificationError, leaf: x509.Certificate, sent: int) -> Finding:
    issuer = _issuer(leaf)
    if STAGING in leaf.issuer.rfc4514_string():
        return wrong(
            f"STAGING: the certificate is from Let's Encrypt's staging authority ({issuer}), which nobody trusts",
            f"{TWILIO_WANTS}: it rejects this one with 11237 and 31910",
            f"{ISSUE}, without --staging",
        )
    if SELF_SIGNED in leaf.issuer.rfc4514_string():
        found = f"the certificate is self-signed, for rehearsals only ({issuer})"
        return wrong(found, TWILIO_WANTS, f"Set DOMAIN in .env. {ISSUE}")
    if exc.verify_code in WRONG_NAME:
        found = f"the certificate is for {', '.join(_names(leaf)) or 'no name'}, not for {case.host} (Twilio: 11235)"
        return wrong(found, f"a certificate for {case.host}", _issue(case))
    if exc.verify_code in EXPIRED:
        return _outside_its_dates(case, leaf)
    if leaf.issuer == leaf.subject:
        return wrong(f"the certificate is self-signed ({issuer}; Twilio: 11237)", TWILIO_WANTS, _issue(case))
    if sent == 1:
        return wrong(
            f"the chain is incomplete: the server sends its own certificate, but not that of {issuer} (Twilio: 11237)",
            "the certificate and the intermediate that issued it",
            "Serve fullchain.pem, not cert.pem",
        )
    return wrong(
        f"the certificate's issuer is not trusted: {issuer} (Twilio: 11237; {exc.verify_message})",
        TWILIO_WANTS,
        f"{_issue(case)}. ACME_SERVER, if set, must name an authority that Twilio trusts",
    )


def _outside_its_dates(case: Case, leaf: x509.Certificate) -> Finding:
    until, since = leaf.not_valid_after_utc, leaf.not_valid_before_utc
    if _now(case) < since:
        found = f"the certificate is not valid before {since:%Y-%m-%d %H:%M} UTC (Twilio: 11236)"
    else:
        found = f"the certificate expired on {until:%Y-%m-%d %H:%M} UTC (Twilio: 11236)"
    do = f"{_issue(case)}. To see why it was not renewed: docker compose -f docker-compose.prod.yml logs certbot"
    return wrong(found, "a certificate that is valid now", do)


async def renewal(case: Case) -> Sequence[Finding]:
    """Whether the certificate is being renewed in time."""
    leaf = x509.load_der_x509_certificate(case.certificate)
    until, lifetime = leaf.not_valid_after_utc, leaf.not_valid_after_utc - leaf.not_valid_before_utc
    left = until - _now(case)
    if left < lifetime * SHARE_OVERDUE:
        return [
            warning(
                f"the certificate expires in {_span(left)} of its {_span(lifetime)}, and has not been renewed",
                "a renewal when a third of the lifetime is left, or half of a short one",
                "See why: docker compose -f docker-compose.prod.yml logs certbot. " + _issue(case),
            )
        ]
    return [ok(f"it is valid for {_span(left)} more")]


async def without_name(case: Case) -> Sequence[Finding]:
    """Whether a handshake without SNI, as Twilio may or may not make, is answered as EDGE_REQUIRE_SNI says."""
    requires = case.values.get("EDGE_REQUIRE_SNI", "").strip().lower()
    try:
        await shake_hands(case.edge, None, unjudging())
    except (OSError, ValueError) as exc:
        if requires == "off":
            return [
                wrong(
                    f"a client that does not name the host (no SNI) is refused: {tls_reason(exc)}",
                    "an answer, as EDGE_REQUIRE_SNI=off says",
                    "Restart nginx: docker compose -f docker-compose.prod.yml up -d nginx",
                )
            ]
        return [ok("a client that does not name the host (no SNI) is refused, as EDGE_REQUIRE_SNI=on says")]
    return [ok("a client without SNI is answered too")] if requires != "on" else [_not_required()]


def _not_required() -> Finding:
    return skipped("a client that does not name the host (no SNI) is answered, though EDGE_REQUIRE_SNI is on")


def _issue(case: Case) -> str:
    return "Check the certificate that the tunnel or the proxy serves" if case.is_tunnel else ISSUE


def _issuer(leaf: x509.Certificate) -> str:
    return leaf.issuer.rfc4514_string()


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _now(case: Case) -> datetime:
    return datetime.fromtimestamp(case.world.now(), UTC)


def _span(span: timedelta) -> str:
    return f"{span.days} days" if span.days >= 2 else f"{span.total_seconds() / 3600:.0f} hours"
