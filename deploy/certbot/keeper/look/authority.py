"""Asks the authority for its directory, as certbot will: through the same proxy, with the same trust."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from keeper.look.finding import Finding, Verdict, cant_tell, good, suspicious, wrong
from keeper.program import run_program
from keeper.settings import Settings

PROGRAM: Final = Path(__file__).with_name("get_directory.py")
TIMEOUT: Final = 20.0
LETS_ENCRYPT_HOSTS: Final = ".letsencrypt.org"
STATUS_PAGE: Final = "https://letsencrypt.status.io"
NOT_YET_VALID: Final = 9  # OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID
EXPIRED: Final = 10
PROXY_WANTS_PASSWORD: Final = 407


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """What came of asking for the directory (RFC 8555, section 7.1.1). ``trouble``: why there is none, if so.

    ``date``: the server's Date header; ``proxy``: host and port of the proxy that was used.
    """

    url: str
    status: int = 0
    date: str = ""
    is_directory: bool = False
    profiles: frozenset[str] = frozenset()
    identities: frozenset[str] = frozenset()
    trouble: str = ""
    why: str = ""
    verify_code: int = 0
    proxy: str = ""

    @classmethod
    def parse(cls, url: str, line: str) -> Self:
        """Read what get_directory.py printed. Raises ValueError."""
        found: dict[str, Any] = json.loads(line)
        profiles, identities = (frozenset(found.pop(name, ())) for name in ("profiles", "identities"))
        return cls(url=url, profiles=profiles, identities=identities, **found)

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def has_wrong_dates(self) -> bool:
        """Whether the server's certificate is good except that it is expired or not yet valid by our clock."""
        return self.verify_code in (NOT_YET_VALID, EXPIRED)

    @property
    def caa_identities(self) -> frozenset[str]:
        """The names by which CAA records permit this authority; empty if they are not known."""
        return self.identities or frozenset({"letsencrypt.org"} if self.host.endswith(LETS_ENCRYPT_HOSTS) else ())


async def get_directory(settings: Settings, url: str) -> Directory:
    """Fetch the directory with the environment that certbot gets."""
    trust = {"REQUESTS_CA_BUNDLE": str(settings.ca_bundle)} if settings.ca_bundle else {}
    # -P: the program's folder, which has a module named certbot, is not searched for modules.
    argv = [sys.executable, "-P", str(PROGRAM), url]
    try:
        done = await run_program(argv, environ={**settings.passed_on, **trust}, timeout=TIMEOUT)
    except OSError as error:
        return Directory(url=url, trouble="not-asked", why=error.strerror or type(error).__name__)
    if done.timed_out:
        return Directory(url=url, trouble="unreachable", why=f"no answer within {TIMEOUT:.0f} s")
    lines = done.output.splitlines()
    try:
        return Directory.parse(url, lines[-1])
    except (ValueError, TypeError, AttributeError, IndexError):
        # Of a traceback only the kind of error: its text could contain the proxy's password.
        kind = re.match(r"[\w.]+", lines[-1]) if lines else None
        return Directory(url=url, trouble="not-asked", why=kind[0] if kind else f"status {done.status}")


def look_at_directory(directory: Directory, profile: str, *, clock: Verdict) -> list[Finding]:
    """Judge what came of it. Only what the authority itself said is certain; the way to it may be another's. ``clock``:
    the verdict on this machine's clock."""
    if directory.trouble:
        return [_no_directory(directory, clock)]
    server, through = directory.url, f" through the proxy {directory.proxy}" if directory.proxy else ""
    if directory.status != 200:
        return [
            suspicious(f"the ACME server {server} answers with status {directory.status}{through}: {_wait(directory)}")
        ]
    if not directory.is_directory:
        return [suspicious(f"what answers at {server}{through} is not an ACME directory: check ACME_SERVER")]
    findings = [good(f"the ACME server {server} answers{through}")]
    if profile and profile not in directory.profiles:
        offered = ", ".join(sorted(directory.profiles)) or "none"
        findings.append(
            wrong(
                f"the ACME server has no profile '{profile}' (it offers {offered}): set ACME_PROFILE to one that it "
                "offers, or unset it"
            )
        )
    return findings


def _no_directory(directory: Directory, clock: Verdict) -> Finding:
    server, proxy, why = directory.url, f"the proxy {directory.proxy}".rstrip(), directory.why
    match directory.trouble:
        case "proxy-unusable":
            return suspicious(f"{proxy} can't be used ({why}): write HTTPS_PROXY as http://HOST:PORT")
        case "proxy-unreachable":
            return suspicious(f"{proxy} can't be used ({why}): correct HTTPS_PROXY{_in_a_container(directory.proxy)}")
        case "proxy-refuses" if directory.status == PROXY_WANTS_PASSWORD:
            return suspicious(
                f"{proxy} wants another user and password ({why}): write them into HTTPS_PROXY, as in "
                "http://USER:PASSWORD@HOST:PORT"
            )
        case "proxy-refuses":
            return suspicious(f"{proxy} does not connect to {directory.host} ({why}): have it allowed there")
        case "untrusted":
            return suspicious(_untrusted(directory, clock))
        case "no-ca-file":
            return suspicious("the file with the CAs to trust does not exist: correct REQUESTS_CA_BUNDLE, or unset it")
        case "not-asked":
            return cant_tell(f"whether the ACME server {server} answers: the program that asks it failed ({why})")
        case _:
            way = (
                f"check the proxy {directory.proxy}" if directory.proxy else "check that this machine may connect to it"
            )
            hint = "" if directory.proxy else "; if only a proxy leads out, name it in HTTPS_PROXY"
            return suspicious(
                f"the ACME server {server} can't be reached from here ({why}): {way}, {_wait(directory)}{hint}"
            )


def _untrusted(directory: Directory, clock: Verdict) -> str:
    certificate = f"the certificate of the ACME server {directory.url}"
    if directory.has_wrong_dates:
        found = "expired" if directory.verify_code == EXPIRED else "not valid yet"
        if clock is Verdict.GOOD:
            return f"{certificate} is {found}, and this machine's clock is right: {_wait(directory)}, and try later"
        if clock is Verdict.WRONG:
            return f"{certificate} is {found} by this machine's clock, which is wrong: set the clock first"
        return f"{certificate} is {found} by this machine's clock: compare that with a good one, and set it by NTP"
    return (
        f"{certificate} is not trusted here ({directory.why}): for an authority of your own, or a proxy that reads the "
        "traffic, name its root in ACME_CA_BUNDLE"
    )


def _wait(directory: Directory) -> str:
    return f"see {STATUS_PAGE}" if directory.host.endswith(LETS_ENCRYPT_HOSTS) else "see whether the authority is down"


def _in_a_container(proxy: str) -> str:
    host = proxy.rpartition(":")[0] or proxy
    if host == "localhost" or host.startswith("127."):
        return f" (in a container, {host} is the container, not the machine)"
    return ""
