"""Explains the errors of certbot and the authority in one sentence, with what to do. Pure.

The authority's problem types are those of RFC 8555, section 6.7.
"""

from __future__ import annotations

import datetime
import email.utils
import re
from dataclasses import dataclass
from typing import Final

PROBLEM: Final = re.compile(r"urn:ietf:params:acme:error:(\w+)")
CHALLENGE: Final = re.compile(r"^\s*(?:Domain|Identifier): +(\S+)\n\s*Type: +(\S+)\n\s*Detail: +(.*)$", re.MULTILINE)
RETRY_AFTER: Final = re.compile(r"^Retry-After: *(.+)$", re.MULTILINE | re.IGNORECASE)
RETRY_AFTER_DATE: Final = re.compile(r"retry after (\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)", re.IGNORECASE)
ANSWER: Final = re.compile(r"^HTTP (\d{3})$", re.MULTILINE)

#: The cause of each type of problem with a challenge, and what to do.
CHALLENGES: Final = {
    "dns": ("the name does not resolve", "set its A record (and AAAA, if there is IPv6) to this machine"),
    "connection": (
        "the authority can't reach it on port 80",
        "open port 80 to the world (firewall, security group, router), and point the DNS records to this machine",
    ),
    "unauthorized": (
        "another server answers at this name on port 80",
        "point the A and AAAA records to this machine, and put nothing in front of nginx on port 80",
    ),
    "incorrectResponse": (
        "another server answers at this name on port 80",
        "point the A and AAAA records to this machine, and put nothing in front of nginx on port 80",
    ),
    "caa": (
        "the domain's CAA record forbids this authority",
        'add a CAA record 0 issue "letsencrypt.org", or remove the existing ones',
    ),
    "tls": ("the authority was redirected to a TLS server that it can't talk to", "let this machine answer port 80"),
    "malformed": ("the authority does not accept this name", "check the name; http-01 does not allow wildcards"),
}

#: The other problems.
PROBLEMS: Final = {
    "rejectedIdentifier": ("the authority does not issue for this name", "check the name, or use another one"),
    "unsupportedIdentifier": ("the authority issues no certificates for this kind of name", "use a host name"),
    "invalidProfile": (
        "the authority does not offer this profile",
        "set ACME_PROFILE to one that it offers, or unset it",
    ),
    "invalidContact": ("the authority does not accept the e-mail address", "correct ACME_EMAIL, or unset it"),
    "unsupportedContact": ("the authority does not accept the e-mail address", "correct ACME_EMAIL, or unset it"),
    "accountDoesNotExist": (
        "the authority does not know our account",
        "remove the folder config/accounts from the certbot volume: the next try makes a new account",
    ),
    "externalAccountRequired": ("the authority requires an external account binding", "use Let's Encrypt"),
    "userActionRequired": ("the authority wants you to agree to something", "follow the link in its message"),
    "badNonce": (
        "the authority refused our nonces again and again",
        "nothing, the keeper will retry; if this persists, look for a proxy in front of the authority",
    ),
    "serverInternal": (
        "the authority has an internal error",
        "nothing, the keeper will retry; see https://letsencrypt.status.io",
    ),
    "caa": CHALLENGES["caa"],
    "dns": CHALLENGES["dns"],
    "connection": CHALLENGES["connection"],
    "unauthorized": CHALLENGES["unauthorized"],
}

UNREACHABLE: Final = re.compile(
    r"Connection refused|Failed to establish a new connection|NewConnectionError|ConnectTimeout|ReadTimeout|timed out"
    r"|Max retries exceeded|Name or service not known|Temporary failure in name resolution|NameResolutionError"
    r"|Connection reset by peer|Connection aborted|RemoteDisconnected|No route to host|Network is unreachable"
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why there is no certificate. ``retry_at`` (Unix time): when the authority said to retry, if it did."""

    cause: str
    todo: str
    retry_at: float | None = None
    is_bad_nonce: bool = False

    def __str__(self) -> str:
        return f"{self.cause}: {self.todo}"


def diagnose(output: str, log: str, now: float) -> Diagnosis:
    """Explain a failed run of certbot from its output and its log file; ``now`` is Unix time."""
    return (
        _machine_trouble(output)
        or _rate_limit(output, log, now)
        or _challenge(output)
        or _connection(output)
        or _problem(output, log)
        or Diagnosis(
            f"certbot failed ({_last_line(output)})", "see letsencrypt.log in the certbot volume's logs folder"
        )
    )


def _machine_trouble(output: str) -> Diagnosis | None:
    refused = re.search(r"^publish: (.*)$", output, re.MULTILINE)
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return Diagnosis(
            "the disk is full (certbot's volume, or that of the published certificates)", "make room on it"
        )
    if refused and "is current" not in refused[1]:
        return Diagnosis("the new certificate was not published", refused[1])
    found = re.search(r"^.*(?:Permission denied|Read-only file system).*$", output, re.MULTILINE)
    if found:
        return Diagnosis(
            f"something can't be read or written ({found[0].strip()})", "give it to the user that the keeper runs as"
        )
    if "Another instance of Certbot is already running" in output:
        return Diagnosis("another certbot is running on the same folders", "wait until it is done")
    return None


def _rate_limit(output: str, log: str, now: float) -> Diagnosis | None:
    said = output + log
    if "error:rateLimited" not in said and "HTTP 429" not in log:
        return None
    retry_at = _retry_at(said, log, now)
    until = "" if retry_at is None else f" before {_time(retry_at)}"
    body = re.search(r"{[^{}]*error:rateLimited[^{}]*}", log)
    detail = re.search(r'"detail": *"([^"]*)"', body[0]) if body else None
    said_so = f" ({_shortened(detail[1])})" if detail else ""
    todo = f"wait; the authority is not asked again{until}. Retrying by hand only makes it later"
    return Diagnosis(f"the authority's rate limit is reached{said_so}", todo, retry_at)


def _retry_at(said: str, log: str, now: float) -> float | None:
    limited = log.rfind("HTTP 429")
    header = RETRY_AFTER.search(log, limited) if limited >= 0 else None
    if header:
        value = header[1].strip()
        if value.isdecimal():
            return now + int(value)
        try:
            return email.utils.parsedate_to_datetime(value).timestamp()
        except ValueError:
            return None
    date = RETRY_AFTER_DATE.search(said)
    return datetime.datetime.fromisoformat(date[1]).replace(tzinfo=datetime.UTC).timestamp() if date else None


def _challenge(output: str) -> Diagnosis | None:
    found = CHALLENGE.search(output)
    if not found:
        return None
    name, kind, detail = found.groups()
    cause, todo = CHALLENGES.get(kind, (f"its challenge failed with '{kind}'", "read the authority's message"))
    if kind in ("unauthorized", "dns") and "CAA" in detail:
        cause, todo = CHALLENGES["caa"]
    return Diagnosis(f"{name}: {cause} ({_shortened(detail)})", todo)


def _connection(output: str) -> Diagnosis | None:
    if "CERTIFICATE_VERIFY_FAILED" in output:
        return Diagnosis(
            "the ACME server's own certificate is not trusted",
            "check ACME_SERVER; for an authority of your own, name its root in ACME_CA_BUNDLE",
        )
    found = UNREACHABLE.search(output)
    if not found:
        return None
    return Diagnosis(
        f"the ACME server can't be reached ({found[0]})",
        "check that this machine may connect to it, and https://letsencrypt.status.io; the keeper will retry",
    )


def _problem(output: str, log: str) -> Diagnosis | None:
    kinds = PROBLEM.findall(output) or PROBLEM.findall(log)
    if not kinds and (answers := [int(status) for status in ANSWER.findall(log)]) and answers[-1] >= 500:
        kinds = ["serverInternal"]
    if not kinds:
        return None
    kind = kinds[-1]
    cause, todo = PROBLEMS.get(kind, (f"the authority answered '{kind}' ({_last_line(output)})", "read its message"))
    return Diagnosis(cause, todo, is_bad_nonce=kind == "badNonce")


def _last_line(output: str) -> str:
    noise = ("Ask for help", "See the logfile", "Saving debug log", "Some challenges have failed", "re-run Certbot")
    lines = [line.strip() for line in output.splitlines() if line.strip() and not any(n in line for n in noise)]
    return _shortened(lines[-1]) if lines else "it said nothing"


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
