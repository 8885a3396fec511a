"""Takes secrets out of what certbot and its libraries say, before it reaches a log, a file or a person. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

USER_INFO: Final = re.compile(r"://[^/\s@]+@")
# A DNS provider's interface may be asked with a token in the query; Let's Encrypt's page for paused names is no secret.
QUERY: Final = re.compile(r"(https?://(?!\S*/unpause\?)[^\s?\"']+)\?[^\s\"']*")


def secrets_in(environ: Mapping[str, str]) -> list[str]:
    """Return what must not be shown of the addresses in an environment: users and passwords, the longest first."""
    found = set()
    for value in environ.values():
        # Greedy, because a password in a wrong address may contain any sign.
        if user_info := re.search(r"://(.*)@", value):
            found |= {user_info[1], user_info[1].partition(":")[2]}
        elif re.fullmatch(r"[^/\s:]+:.*@[^@]*:\d+/?", value):  # an address without http://
            found |= {value.rpartition("@")[0], value.rpartition("@")[0].partition(":")[2]}
    return sorted((secret for secret in found if len(secret) > 2), key=len, reverse=True)


def redacted(text: str, secrets: list[str]) -> str:
    """Return a text without these secrets, and without users and queries in addresses."""
    for secret in secrets:
        text = text.replace(secret, "…")
    return QUERY.sub(r"\1?…", USER_INFO.sub("://…@", text))
