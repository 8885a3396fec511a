"""The names that a certificate is for, as they are written in settings and options. Pure."""

from __future__ import annotations

import re
from typing import Final

import idna

from keeper.errors import UsageError
from keeper.pairs.certificate import is_address

REHEARSAL_DOMAIN: Final = "localhost"

LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")


def host_name(source: str, value: str) -> str:
    """Normalise a host name. ``source``: the setting or option it comes from. Raises `UsageError`."""
    name = value.lower().removesuffix(".")
    if ascii_name := _in_ascii(name):
        raise UsageError(f"{source} is '{value}': write it as it is in DNS, {ascii_name}")
    if not HOST_NAME.fullmatch(name):
        raise UsageError(
            f"{source} is '{value}': wanted a host name without https:// and path, as in voice.example.com"
        )
    if re.fullmatch(r"[0-9.]+", name) and not is_address(name):
        raise UsageError(f"{source} is '{value}': that is neither a host name nor an IPv4 address")
    return name


def extra_domains(value: str, domain: str, *, wildcards: bool) -> tuple[str, ...]:
    """Read EXTRA_DOMAINS, without the domain itself. ``wildcards``: whether they can be issued. Raises `UsageError`."""
    names = []
    for word in value.replace(",", " ").split():
        is_wildcard = word.startswith("*.")
        name = host_name("EXTRA_DOMAINS", word.removeprefix("*."))
        if is_wildcard and not wildcards:
            raise UsageError(f"EXTRA_DOMAINS has {word}: authorities issue for *. only by DNS-01 (ACME_CHALLENGE)")
        if is_address(name) or is_address(domain):
            raise UsageError("EXTRA_DOMAINS: a certificate for an IP address can hold no other names here")
        names.append(f"*.{name}" if is_wildcard else name)
    if names and REHEARSAL_DOMAIN in (domain, *names):
        raise UsageError("EXTRA_DOMAINS is set, but DOMAIN is not: write DOMAIN=voice.example.com into .env")
    for name in (domain, *names):
        wildcard = f"*.{name.partition('.')[2]}"
        if wildcard in names and wildcard != name:
            raise UsageError(
                f"EXTRA_DOMAINS has {wildcard}, which stands for {name} too, and Let's Encrypt refuses both in one "
                "certificate: name the further names one by one"
            )
    return tuple(name for name in dict.fromkeys(names) if name != domain)


def _in_ascii(name: str) -> str:
    """Return the form in DNS of a name with other letters than ASCII's (IDNA); empty if it is no such name."""
    try:
        return "" if name.isascii() else idna.encode(name, uts46=True).decode()
    except idna.IDNAError:
        return ""
