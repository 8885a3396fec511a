"""The kinds of keys that certificates are made for (CERTIFICATE_KEYS). Pure."""

from __future__ import annotations

import enum
from typing import Final

from keeper.errors import UsageError


class Kind(enum.StrEnum):
    """A kind of key, as certbot calls it (`--key-type`)."""

    ECDSA = "ecdsa"
    RSA = "rsa"

    @property
    def label(self) -> str:
        """The kind as people write it."""
        return self.upper()

    @property
    def ciphers(self) -> str:
        """OpenSSL's list of the TLS 1.2 cipher suites whose server shows a certificate of this kind."""
        return f"ECDHE+a{self.label}"


ECDSA_ALONE: Final = (Kind.ECDSA,)
_CHOICES: Final = {"ecdsa": ECDSA_ALONE, "rsa": (Kind.RSA,), "ecdsa+rsa": (Kind.ECDSA, Kind.RSA)}


def parse_kinds(value: str, *, has_own_pair: bool) -> tuple[Kind, ...]:
    """Read CERTIFICATE_KEYS; the first kind's certificate has the domain's own name. Raises `UsageError`."""
    kinds = _CHOICES.get(value)
    if kinds is None:
        raise UsageError(f"CERTIFICATE_KEYS is '{value}': wanted ecdsa, rsa, or ecdsa+rsa")
    if has_own_pair and kinds != ECDSA_ALONE:
        raise UsageError(
            f"CERTIFICATE_KEYS is {value}, and TLS_CERTIFICATE is set: it is for certificates from an authority, and a "
            "certificate of your own has the key that you made; remove CERTIFICATE_KEYS from .env"
        )
    return kinds
