"""The keeper's settings. Only this module reads the environment. Defaults are in parentheses.

DOMAIN               the host name, or the IPv4 address, that nginx serves; localhost: a rehearsal (localhost)
ACME_EMAIL           the account's e-mail address; may be empty
ACME_SERVER          the authority's directory URL (Let's Encrypt)
ACME_STAGING_SERVER  the directory URL where issuing is rehearsed first (Let's Encrypt's staging server, when the
                     authority is Let's Encrypt; none otherwise)
ACME_CA_BUNDLE       a PEM file of CAs to trust for ACME_SERVER (those that the machine trusts)
ACME_PROFILE         classic, tlsserver or shortlived, with Let's Encrypt (its default)
EDGE_HTTPS           where to check the served certificate: HOST:PORT (nginx:8443)
ACME_WEBROOT         the folder from which nginx serves challenges (/var/lib/callgate/webroot)
CERTBOT_STATE        the folder for certbot's account and certificates, and for our state (/var/lib/callgate/certbot)
CERT_PUBLISHED       the folder from which nginx reads certificates (/var/lib/callgate/published)
REHEARSAL            the folder for ca.pem, which clients trust in rehearsals (/var/lib/callgate/rehearsal)
CERTBOT              certbot's command (certbot)
KEEPER_RESOLVER      the DNS server for the checks beforehand: HOST:PORT (the machine's own)
KEEPER_HTTP_PORT     the port on which the authority fetches challenges; not 80 only in tests (80)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keeper.certificate import is_address
from keeper.errors import UsageError

LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING: Final = "https://acme-staging-v02.api.letsencrypt.org/directory"
REHEARSAL_DOMAIN: Final = "localhost"

LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_NAME: Final = re.compile(rf"(?=.{{1,253}}$){LABEL}(\.{LABEL})*")
# The variables that are passed on to certbot; it gets no others of this environment.
PASSED_ON: Final = ("PATH", "HOME", "LANG", "TMPDIR", "CERT_GROUP", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked."""

    domain: str
    email: str
    server: str
    staging_server: str
    ca_bundle: Path | None
    profile: str
    edge: Address
    webroot: Path
    state: Path
    published: Path
    rehearsal: Path
    certbot: str
    resolver: Address | None
    http_port: int
    passed_on: Mapping[str, str]

    @property
    def is_rehearsal(self) -> bool:
        """Whether there is no domain, and so no authority would issue a certificate."""
        return self.domain == REHEARSAL_DOMAIN

    @classmethod
    def parse(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment. Raises `UsageError`."""

        def get(name: str, default: str = "") -> str:
            return environ.get(name, "").strip() or default

        server = get("ACME_SERVER", LETS_ENCRYPT)
        return cls(
            domain=host_name("DOMAIN", get("DOMAIN", REHEARSAL_DOMAIN)),
            email=get("ACME_EMAIL"),
            server=_url("ACME_SERVER", server),
            staging_server=get("ACME_STAGING_SERVER", LETS_ENCRYPT_STAGING if server == LETS_ENCRYPT else ""),
            ca_bundle=_file("ACME_CA_BUNDLE", get("ACME_CA_BUNDLE")),
            profile=get("ACME_PROFILE"),
            edge=_address("EDGE_HTTPS", get("EDGE_HTTPS", "nginx:8443")),
            webroot=Path(get("ACME_WEBROOT", "/var/lib/callgate/webroot")),
            state=Path(get("CERTBOT_STATE", "/var/lib/callgate/certbot")),
            published=Path(get("CERT_PUBLISHED", "/var/lib/callgate/published")),
            rehearsal=Path(get("REHEARSAL", "/var/lib/callgate/rehearsal")),
            certbot=get("CERTBOT", "certbot"),
            resolver=_address("KEEPER_RESOLVER", get("KEEPER_RESOLVER")) if get("KEEPER_RESOLVER") else None,
            http_port=_address("KEEPER_HTTP_PORT", f"localhost:{get('KEEPER_HTTP_PORT', '80')}").port,
            passed_on={name: environ[name] for name in PASSED_ON if name in environ},
        )


def host_name(source: str, value: str) -> str:
    """Normalise a host name. ``source``: the setting or option it comes from. Raises `UsageError`."""
    name = value.lower().removesuffix(".")
    if not HOST_NAME.fullmatch(name):
        raise UsageError(
            f"{source} is '{value}': wanted a host name without https:// and path, as in voice.example.com"
        )
    if re.fullmatch(r"[0-9.]+", name) and not is_address(name):
        raise UsageError(f"{source} is '{value}': that is neither a host name nor an IPv4 address")
    return name


def _url(name: str, value: str) -> str:
    if not re.fullmatch(r"https://[^\s/]+\S*", value):
        raise UsageError(f"{name} is '{value}': wanted the https:// URL of an ACME directory")
    return value


def _file(name: str, value: str) -> Path | None:
    if not value:
        return None
    if not Path(value).is_file():
        raise UsageError(f"{name} is '{value}': there is no such file")
    return Path(value)


def _address(name: str, value: str) -> Address:
    host, _, port = value.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65535:
        raise UsageError(f"{name} is '{value.removeprefix('localhost:')}': wanted HOST:PORT, as in nginx:8443")
    return Address(host.strip("[]"), int(port))
