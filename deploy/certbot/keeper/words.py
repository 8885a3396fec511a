"""How times and certificates are described to people."""

from __future__ import annotations

import datetime
from typing import Final

from keeper.pairs.certificate import Certificate

REFUSED_BY_TWILIO: Final = "Twilio refuses it: errors 11237 (webhook) and 31910 (stream)"


def when(at: float | datetime.datetime) -> str:
    """Format a time."""
    moment = at if isinstance(at, datetime.datetime) else datetime.datetime.fromtimestamp(at, datetime.UTC)
    return moment.strftime("%Y-%m-%d %H:%M UTC")


def describe(certificate: Certificate) -> str:
    """Describe a certificate, with its end and its approximate renewal."""
    names = ", ".join(sorted(certificate.names))
    return (
        f"{names}: serial {certificate.serial_hex}, issued by {certificate.issuer}, valid until "
        f"{when(certificate.not_after)}, renewed about {when(certificate.renewal)}"
    )
