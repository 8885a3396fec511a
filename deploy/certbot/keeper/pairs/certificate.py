"""The contents of a certificate. Pure, except `read`, which opens a file."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keeper.kinds import Kind

#: The organisation in every certificate that this package issues itself.
SELF_SIGNED: Final = "Callgate self-signed, not for production"
#: The prefix of the names of Let's Encrypt's untrusted authorities: https://letsencrypt.org/docs/staging-environment/
STAGING: Final = "(STAGING)"

# When certbot renews if the authority names no better time (ARI): when a third of the lifetime is left, or half of a
# lifetime shorter than ten days.
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
    kind: Kind | None = None  # None: neither of the two

    @classmethod
    def parse(cls, pem: bytes) -> Certificate:
        """Parse the first certificate of a chain. Raises ValueError."""
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
            kind=_kind(certificate),
        )

    @property
    def lifetime(self) -> datetime.timedelta:
        return self.not_after - self.not_before

    @property
    def renewal(self) -> datetime.datetime:
        """About when the certificate is renewed, unless the authority asks for an earlier renewal."""
        share = SHARE_LEFT_AT_RENEWAL_SHORT if self.lifetime < SHORT_LIFETIME else SHARE_LEFT_AT_RENEWAL
        return self.not_after - self.lifetime * share

    @property
    def serial_hex(self) -> str:
        return f"{self.serial:X}"

    def valid_at(self, now: float) -> bool:
        """Whether the certificate's dates include the time ``now`` (Unix)."""
        return self.not_before.timestamp() <= now < self.not_after.timestamp()

    def is_due_at(self, now: float) -> bool:
        return now >= self.renewal.timestamp()

    def good_for(self, name: str, now: float) -> bool:
        """Whether name and dates are valid for a client that asks for ``name`` now."""
        return self.covers([name]) and self.valid_at(now)

    def covers(self, names: Collection[str]) -> bool:
        """Whether the certificate is for all these names; a wildcard in it stands for one more label."""
        return all(name in self.names or f"*.{name.partition('.')[2]}" in self.names for name in names)


def _kind(certificate: x509.Certificate) -> Kind | None:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return Kind.RSA
    return Kind.ECDSA if isinstance(key, ec.EllipticCurvePublicKey) else None


def _names(certificate: x509.Certificate) -> frozenset[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    addresses = names.get_values_for_type(x509.IPAddress)
    return frozenset([n.lower() for n in names.get_values_for_type(x509.DNSName)] + [str(a) for a in addresses])


def read(file: Path) -> Certificate | None:
    """Read a chain from a file; None if there is no valid one."""
    try:
        return Certificate.parse(file.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        return None


def flaw(folder: Path) -> str:
    """Return what is wrong with the chain and the key in a folder, whatever their dates; empty if nothing is."""
    try:
        chain = x509.load_pem_x509_certificates((folder / "fullchain.pem").read_bytes())
        key = serialization.load_pem_private_key((folder / "privkey.pem").read_bytes(), None)
        is_its_key = key.public_key() == chain[0].public_key()
    except OSError as error:
        return f"{error.filename} can't be read ({error.strerror})"
    except UnsupportedAlgorithm as error:
        return f"{folder} holds a certificate or a key of an unusual kind ({error})"
    except (ValueError, TypeError):
        return f"{folder} does not hold a certificate and its private key"
    if not is_its_key:
        return f"the key in {folder} is not the certificate's"
    if len(chain) < 2:
        return f"{folder / 'fullchain.pem'} lacks the intermediate certificate"
    if not any(_is_issued_by(chain[0], other) for other in chain[1:]):
        return f"{folder / 'fullchain.pem'} does not hold the issuer of its first certificate"
    return ""


def _is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except UnsupportedAlgorithm:
        return True  # hooks/publish asks openssl, which may know it
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def is_address(name: str) -> bool:
    """Whether ``name`` is an IPv4 address."""
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def der_serial(der: bytes) -> int:
    """Return the serial number of a certificate from a handshake."""
    return x509.load_der_x509_certificate(der).serial_number


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
