"""pip's settings as settings of uv, which reads none of pip's.

``pip config list`` on standard input; on standard output environment variables, one ``NAME=value`` on a line, and
``--no-index``, for which there is no variable. It says where packages come from and whom to trust; what else pip can be
told makes no difference here, where each package and its hash are given.

Additional indexes are left out. pip chooses among the files of all indexes; uv takes a version from the first one that
has it, although the file for this machine may be in another. So a package that only an additional index has is one that
uv can't install, and pip does.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from typing import Final

# In the order in which pip heeds them: the last one wins.
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
# pip parts several values by white space, uv by this.
SEPARATORS: Final = {"find-links": ",", "trusted-host": " "}
TRUE: Final = ("1", "true", "yes", "on", "y", "t")


def uv_settings(lines: Iterable[str]) -> Iterator[str]:
    """Yield what uv is to be told, for what ``pip config list`` printed. Lines that are no setting are passed over."""
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
