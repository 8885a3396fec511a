"""Translates pip's settings for uv, which does not read them.

It reads the output of ``pip config list`` from standard input, and prints environment variables, one ``NAME=value`` per
line, and ``--no-index``, for which there is no variable. Only the settings about where packages come from and whom to
trust are translated; the others make no difference here, where each package is pinned with its hash.

Additional indexes are left out. pip chooses among the files of all indexes, but uv takes a version from the first index
that has it, although the file for this machine may be in another. So uv can't install a package that only an additional
index has; pip then installs it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from typing import Final

# In pip's order of precedence: the last one wins.
SECTIONS: Final = ("global", "install", ":env:")

VARIABLES: Final = {
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "default-timeout": ("UV_HTTP_TIMEOUT",),
    "find-links": ("UV_FIND_LINKS",),
    "index-url": ("UV_DEFAULT_INDEX",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "trusted-host": ("UV_INSECURE_HOST",),
}
# pip separates several values by white space, uv by these.
SEPARATORS: Final = {"find-links": ",", "trusted-host": " "}
TRUE: Final = ("1", "true", "yes", "on", "y", "t")


def uv_settings(lines: Iterable[str]) -> Iterator[str]:
    """Yield uv's settings for the output of ``pip config list``. Lines that are not settings are ignored."""
    found = [line.strip().partition("=") for line in lines]
    settings = {}
    for section in SECTIONS:
        for name, _, value in found:
            if name.startswith(f"{section}.") and value:
                settings[name.removeprefix(f"{section}.")] = str(ast.literal_eval(value))
    for name, variables in VARIABLES.items():
        if value := SEPARATORS.get(name, " ").join(settings.get(name, "").split()):
            yield from (f"{variable}={value}" for variable in variables)
    if settings.get("no-index", "").lower() in TRUE:
        yield "--no-index"


if __name__ == "__main__":
    for setting in uv_settings(sys.stdin):
        print(setting)
