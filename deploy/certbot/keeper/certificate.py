"""What a certificate says. Pure but for `read`, which opens one file."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import serialization

#: The organisation in every certificate that this package makes itself.
SELF_SIGNED: Final = "Callgate self-signed, not for production"
#: How the names of Let's Encrypt's untrusted authorities begin: https://letsencrypt.org/docs/staging-environment/
STAGING: Final = "(STAGING)"

# What certbot does when the authority gives no better time (ARI): renew when a third of the lifetime is left, a half of
# one shorter than ten days.
SHARE_LEFT_AT_RENEWAL: Final = 1 / 3
SHARE_LEFT_AT_RENEWAL_SHORT: Final = 1 / 2
SHORT_LIFETIME: Final = datetime.timedelta(days=10)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The first certificate of a chain. Times are in UTC."""

    names: frozenset[str]
    serial: int
    not_before: datetime.datetime
    not_after: datetime.datetime
    issuer: str
    is_self_signed: bool
    is_staging: bool

    @classmethod
    def parse(cls, pem: bytes) -> Certificate:
        """Read a chain's first certificate. Raises ValueError."""
        certificate = x509.load_pem_x509_certificate(pem)
        issuer = certificate.issuer.rfc4514_string()
        return cls(
            names=_names(certificate),
            serial=certificate.serial_number,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            issuer=issuer,
            is_self_signed=any(name.value == SELF_SIGNED for name in certificate.issuer),
            is_staging=STAGING in issuer,
        )

    @property
    def lifetime(self) -> datetime.timedelta:
        return self.not_after - self.not_before

    @property
    def renewal(self) -> datetime.datetime:
        """About when it is renewed, if the authority does not ask for it earlier."""
        share = SHARE_LEFT_AT_RENEWAL_SHORT if self.lifetime < SHORT_LIFETIME else SHARE_LEFT_AT_RENEWAL
        return self.not_after - self.lifetime * share

    @property
    def serial_hex(self) -> str:
        return f"{self.serial:X}"

    def valid_at(self, now: float) -> bool:
        """Whether its dates include a time (Unix)."""
        return self.not_before.timestamp() <= now < self.not_after.timestamp()

    def is_due_at(self, now: float) -> bool:
        return now >= self.renewal.timestamp()

    def good_for(self, name: str, now: float) -> bool:
        """Whether a client that asks for ``name`` now finds name and dates in order."""
        return name in self.names and self.valid_at(now)


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = names.get_values_for_type(x509.IPAddress)
    return frozenset([n.lower() for n in names.get_values_for_type(x509.DNSName)] + [str(a) for a in addresses])


def read(file: Path) -> Certificate | None:
    """Read a chain's file; None where there is none that can be read as one."""
    try:
        return Certificate.parse(file.read_bytes())
    except (OSError, ValueError):
        return None


def is_address(name: str) -> bool:
    """Whether a name is an IPv4 address."""
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def der_serial(der: bytes) -> int:
    """Return the serial number of a certificate as it comes out of a handshake."""
    return x509.load_der_x509_certificate(der).serial_number


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
