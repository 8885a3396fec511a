"""The names of all settings, and which of them was meant by a name that is none."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from .settings import settings

# What only nginx, certbot and the tunnels of docker-compose.prod.yml are given.
OF_THE_BUNDLE: Final = frozenset(
    {
        "EXTRA_DOMAINS", "EDGE_EXTRA", "EDGE_REQUIRE_SNI", "EDGE_PROXY_PROTOCOL", "TRUSTED_PROXIES",
        "EDGE_IPV6", "EDGE_RESOLVER", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
        "ACME_SERVER", "ACME_PROFILE", "CERTIFICATE_KEYS", "ACME_EAB_KID", "ACME_EAB_HMAC_KEY",
        "ACME_FALLBACK_SERVER", "ACME_FALLBACK_EAB_KID", "ACME_FALLBACK_EAB_HMAC_KEY",
        "ACME_CHALLENGE", "ACME_DNS_CREDENTIALS", "ACME_DNS_SECONDS", "CERTBOT_PLUGINS", "TLS_CERTIFICATE", "TLS_KEY",
        "NGROK_AUTHTOKEN", "CLOUDFLARED_TUNNEL_TOKEN",
    }
)  # fmt: skip
#: What the container sets itself, whatever the environment and .env say.
SET_BY_THE_BUNDLE: Final = frozenset({"HOST", "PORT", "DATA_DIR"})
# How much of a name must be right. At less, another program's variables would be taken for misspelt settings.
_ALIKE: Final = 0.81
_ALIKE_IN_A_FAMILY: Final = 0.7  # if the first word is right, as in TWILIO_SID for TWILIO_ACCOUNT_SID


def of_the_backend() -> frozenset[str]:
    """Return the names that `Config` reads, including those of files with a secret."""
    fields = [field.metadata for field in settings()]
    return frozenset(
        {field["env"] for field in fields} | {f"{field['env']}_FILE" for field in fields if field["secret"]}
    )


def known() -> frozenset[str]:
    """Return the names of all settings."""
    return of_the_backend() | OF_THE_BUNDLE


def misspelt(names: Iterable[str]) -> dict[str, str]:
    """Return those of the names that are no setting, but almost, each with the setting that it resembles."""
    every = sorted(known())
    found = {name: meant for name in names if name not in every and (meant := _resembled(name.upper(), every))}
    return found


def _resembled(name: str, every: list[str]) -> str | None:
    family = name.partition("_")[0] + "_"
    relatives = [other for other in every if other.startswith(family)]
    for candidates, alike in ((every, _ALIKE), (relatives, _ALIKE_IN_A_FAMILY)):
        if close := difflib.get_close_matches(name, candidates, n=1, cutoff=alike):
            return close[0]
    return None
