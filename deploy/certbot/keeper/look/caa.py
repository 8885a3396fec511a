"""Who may issue certificates for a name: its CAA records (RFC 8659), with the parameters of RFC 8657. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from keeper.settings import HTTP_01

CRITICAL: Final = 128
#: The tags that authorities know: https://www.iana.org/assignments/pkix-parameters/#caa-properties
KNOWN_TAGS: Final = frozenset({"issue", "issuewild", "issuemail", "issuevmc", "iodef", "contactemail", "contactphone"})


@dataclass(frozen=True, slots=True)
class Caa:
    """One CAA record."""

    tag: str
    value: str
    flags: int = 0

    @classmethod
    def of(cls, records: Iterable[Any]) -> list[Self]:
        """Convert dnspython's records."""
        return [cls(_text(one.tag).lower(), _text(one.value), one.flags) for one in records]


def permits(
    records: Sequence[Caa], identities: Collection[str], *, wildcard: bool = False, challenge: str = HTTP_01
) -> bool:
    """Whether the records let an authority with one of these identities issue. ``wildcard``: for ``*.NAME``."""
    # RFC 8659, section 4.1: an authority must not issue if it does not understand a critical record.
    if any(record.flags & CRITICAL and record.tag not in KNOWN_TAGS for record in records):
        return False
    found = {tag: [record.value for record in records if record.tag == tag] for tag in ("issue", "issuewild")}
    applying = (wildcard and found["issuewild"]) or found["issue"]
    return not applying or any(_permits(value, identities, challenge) for value in applying)


def _permits(value: str, identities: Collection[str], challenge: str) -> bool:
    authority, *parameters = (part.strip() for part in value.split(";"))
    named = {tag.strip().lower(): values for tag, _, values in (parameter.partition("=") for parameter in parameters)}
    methods = named.get("validationmethods", challenge)
    return authority.lower() in identities and challenge in [method.strip() for method in methods.split(",")]


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
