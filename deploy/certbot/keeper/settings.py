"""The keeper's settings. Only this module reads the environment. Defaults are in parentheses.

DOMAIN               the host name, or the IPv4 address, that nginx serves; localhost: a rehearsal (localhost)
EXTRA_DOMAINS        more host names of the same certificate, separated by spaces or commas; *.example.com with DNS-01
ACME_EMAIL           the account's e-mail address; may be empty
ACME_SERVER          the authority's directory URL (Let's Encrypt)
ACME_EAB_KID         the key identifier that the authority gave you, if it issues only to its customers (external
                     account binding: RFC 8555, section 7.3.4)
ACME_EAB_HMAC_KEY    the key that belongs to it, base64url
ACME_FALLBACK_SERVER an authority that is asked when the first one has issued nothing for a day; with
                     ACME_FALLBACK_EAB_KID and ACME_FALLBACK_EAB_HMAC_KEY
ACME_CHALLENGE       http-01, or a DNS plugin of certbot such as dns-cloudflare (http-01)
ACME_DNS_CREDENTIALS the file with the plugin's credentials
ACME_DNS_SECONDS     how long the plugin waits for its record to be seen everywhere, in seconds (the plugin's own)
TLS_CERTIFICATE      a chain of your own, PEM: no authority is asked
TLS_KEY              the private key that belongs to it, PEM
ACME_STAGING_SERVER  the directory URL where issuing is rehearsed first (Let's Encrypt's staging server, when the
                     authority is Let's Encrypt; none otherwise)
ACME_CA_BUNDLE       a PEM file of CAs to trust for ACME_SERVER (those that the machine trusts)
CERTIFICATE_KEYS     ecdsa, rsa, or ecdsa+rsa: for which kinds of keys there is a certificate (ecdsa)
ACME_PROFILE         classic, tlsserver or shortlived, with Let's Encrypt (its default)
EDGE_HTTPS           where to check the served certificate: HOST:PORT (nginx:8443)
ACME_WEBROOT         the folder from which nginx serves challenges (/var/lib/callgate/webroot)
CERTBOT_STATE        the folder for certbot's account and certificates, and for our state (/var/lib/callgate/certbot)
CERT_PUBLISHED       the folder from which nginx reads certificates (/var/lib/callgate/published)
REHEARSAL            the folder for ca.pem, which clients trust in rehearsals (/var/lib/callgate/rehearsal)
CERTBOT              certbot's command (certbot)
KEEPER_FILES         the folder that relative paths of files start from (the current one)
KEEPER_RESOLVER      the DNS server for the checks beforehand: HOST:PORT (the machine's own)
KEEPER_HTTP_PORT     the port on which the authority fetches challenges; not 80 only in tests (80)

certbot reads more from the environment, and so does what the keeper asks in its stead: HTTPS_PROXY, HTTP_PROXY,
ALL_PROXY and NO_PROXY, and what else is listed in PASSED_ON.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from keeper.domains import REHEARSAL_DOMAIN, extra_domains, host_name
from keeper.errors import UsageError
from keeper.kinds import ECDSA_ALONE, Kind, parse_kinds

LETS_ENCRYPT: Final = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING: Final = "https://acme-staging-v02.api.letsencrypt.org/directory"
HTTP_01: Final = "http-01"
DNS_01: Final = "dns-01"
ROUTE53: Final = "dns-route53"
LONGEST_DNS_WAIT: Final = 400  # seconds; certbot is given ten minutes for everything

# The variables that are passed on to certbot; it gets no others of this environment. requests takes proxies in either
# case, and prefers lower case. The last two are for the machine's resolver (resolv.conf(5)).
PASSED_ON: Final = (
    *("PATH", "HOME", "LANG", "TMPDIR", "CERT_GROUP"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("RES_OPTIONS", "LOCALDOMAIN"),
)


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Authority:
    """An ACME server's directory URL, and the external account binding that it may require."""

    server: str
    eab_kid: str = ""
    eab_hmac_key: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """How the authority is shown that the names are ours: by http-01, or by one of certbot's DNS plugins."""

    plugin: str = ""
    credentials: Path | None = None
    seconds: str = ""

    @property
    def by_dns(self) -> bool:
        return bool(self.plugin)

    @property
    def options(self) -> list[str]:
        """certbot's options. All of its DNS plugins name theirs alike; Route 53 reads a file that AWS names."""
        if not self.plugin:
            return []
        options = ["--authenticator", self.plugin]
        if self.credentials and self.plugin != ROUTE53:
            options += [f"--{self.plugin}-credentials", str(self.credentials)]
        if self.seconds and self.plugin != ROUTE53:  # which asks Route 53 whether the record is everywhere
            options += [f"--{self.plugin}-propagation-seconds", self.seconds]
        return options

    @property
    def environ(self) -> dict[str, str]:
        """What the plugin finds in its environment."""
        is_aws = self.plugin == ROUTE53 and self.credentials is not None
        return {"AWS_SHARED_CREDENTIALS_FILE": str(self.credentials)} if is_aws else {}


@dataclass(frozen=True, slots=True)
class OwnPair:
    """The files of a certificate that somebody else looks after."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings, checked. ``authorities``: the first one is asked, and the next one when it can't issue.

    ``kinds``: one certificate for each of these kinds of keys.
    """

    domain: str
    extra_domains: tuple[str, ...]
    email: str
    authorities: tuple[Authority, ...]
    challenge: Challenge
    own_pair: OwnPair | None
    kinds: tuple[Kind, ...]
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
    passed_on: Mapping[str, str] = field(repr=False)  # a proxy's URL may contain a password

    @property
    def is_rehearsal(self) -> bool:
        """Whether there is no domain, and so no authority would issue a certificate."""
        return self.domain == REHEARSAL_DOMAIN

    @property
    def server(self) -> str:
        """The directory URL of the first authority."""
        return self.authorities[0].server

    @property
    def names(self) -> tuple[str, ...]:
        """All names of the certificate, `domain` first."""
        return (self.domain, *self.extra_domains)

    def name_of(self, kind: Kind) -> str:
        """Return the name under which the certificate for a kind of key is kept and published."""
        return self.domain if kind is self.kinds[0] else f"{self.domain}-{kind}"

    @classmethod
    def parse(cls, environ: Mapping[str, str]) -> Settings:
        """Read the environment. Raises `UsageError`."""

        def get(name: str, default: str = "") -> str:
            return environ.get(name, "").strip() or default

        server = get("ACME_SERVER", LETS_ENCRYPT)
        files = Path(get("KEEPER_FILES", "."))
        domain = host_name("DOMAIN", get("DOMAIN", REHEARSAL_DOMAIN))
        challenge = _challenge(
            get("ACME_CHALLENGE", HTTP_01), get("ACME_DNS_CREDENTIALS"), get("ACME_DNS_SECONDS"), files
        )
        authorities = [_authority("ACME_", server, get)]
        own_pair = _own_pair(get("TLS_CERTIFICATE"), get("TLS_KEY"), files)
        kinds = parse_kinds(get("CERTIFICATE_KEYS", "ecdsa"), has_own_pair=own_pair is not None)
        if fallback := get("ACME_FALLBACK_SERVER"):
            authorities.append(_authority("ACME_FALLBACK_", fallback, get))
        return cls(
            domain=domain,
            extra_domains=extra_domains(get("EXTRA_DOMAINS"), domain, wildcards=challenge.by_dns),
            email=get("ACME_EMAIL"),
            authorities=tuple(authorities),
            challenge=challenge,
            own_pair=own_pair,
            kinds=ECDSA_ALONE if domain == REHEARSAL_DOMAIN else kinds,  # a rehearsal's certificate is made here
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


def _authority(prefix: str, server: str, get: Callable[[str], str]) -> Authority:
    kid, key = get(f"{prefix}EAB_KID"), get(f"{prefix}EAB_HMAC_KEY")
    if bool(kid) != bool(key):
        raise UsageError(f"{prefix}EAB_KID and {prefix}EAB_HMAC_KEY belong together: set both, or neither")
    if key and not re.fullmatch(r"[A-Za-z0-9_-]+=*", key):
        raise UsageError(f"{prefix}EAB_HMAC_KEY is not base64url: copy it again from the authority")
    if not re.fullmatch(r"\S*", kid):
        raise UsageError(f"{prefix}EAB_KID is '{kid}': wanted one word, as the authority gave it to you")
    return Authority(_url(f"{prefix}SERVER", server), kid, key)


def _challenge(kind: str, credentials: str, seconds: str, files: Path) -> Challenge:
    if kind == HTTP_01:
        return Challenge()
    if not re.fullmatch(r"dns-[a-z0-9-]+", kind):
        raise UsageError(
            f"ACME_CHALLENGE is '{kind}': wanted http-01, or a DNS plugin of certbot, as in dns-cloudflare"
        )
    if seconds and not (seconds.isdecimal() and int(seconds) <= LONGEST_DNS_WAIT):
        raise UsageError(f"ACME_DNS_SECONDS is '{seconds}': wanted a number of seconds, {LONGEST_DNS_WAIT} at most")
    return Challenge(kind, _readable("ACME_DNS_CREDENTIALS", files / credentials) if credentials else None, seconds)


def _own_pair(certificate: str, key: str, files: Path) -> OwnPair | None:
    if bool(certificate) != bool(key):
        raise UsageError("TLS_CERTIFICATE and TLS_KEY belong together: set both, or neither")
    return OwnPair(files / certificate, files / key) if certificate else None


def _readable(name: str, path: Path) -> Path:
    if not path.is_file():
        raise UsageError(f"{name} is {path}: there is no such file; in the bundle, put it into the folder tls")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{name} is {path}, which user {os.getuid()} can't read: chown {os.getuid()} that file")
    return path


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
