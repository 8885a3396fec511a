"""Explains the errors of certbot and the authority in one sentence, with what to do. Pure.

`acme_problems` has the authority's types of problems.
"""

from __future__ import annotations

import datetime
import email.utils
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from keeper.acme.problems import CHALLENGES, DNS_CHALLENGES, PROBLEMS, Meaning, Start, meaning

PROBLEM: Final = re.compile(r"urn:ietf:params:acme:error:(\w+)")
CHALLENGE: Final = re.compile(r"^\s*(?:Domain|Identifier): +(\S+)\n\s*Type: +(\S+)\n\s*Detail: +(.*)$", re.MULTILINE)
RETRY_AFTER: Final = re.compile(r"^Retry-After: *(.+)$", re.MULTILINE | re.IGNORECASE)
RETRY_AFTER_DATE: Final = re.compile(r"retry after (\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d)", re.IGNORECASE)
ANSWER: Final = re.compile(r"^HTTP (\d{3})$", re.MULTILINE)

NO_PLUGIN: Final = re.compile(
    r"The requested (\S+) plugin does not appear to be installed"
    r"|unrecognized arguments: --(dns-[a-z0-9-]+?)-(?:credentials|propagation-seconds)"
)

# What certbot's DNS plugins say of their providers' interfaces.
DNS_PROVIDER: Final = re.compile(
    r"^.*(?:[Ee]rror adding TXT record|[Ee]rror (?:communicating with|determining zone|finding)|Unable to determine"
    r"|Unable to find a (?:Cloudflare )?(?:zone|hosted zone)|Missing propert(?:y|ies) in credentials).*$",
    re.MULTILINE,
)

# An authority may find out only when it connects that the name does not resolve.
UNRESOLVED: Final = re.compile(r"could not resolve|no such host|SERVFAIL|NXDOMAIN|DNS problem")

FAILING_DNS: Final = re.compile(r"SERVFAIL|timed? ?out|timeout|REFUSED|query failed", re.IGNORECASE)
CAA_FAILS: Final = Meaning(
    "the domain's DNS servers fail when they are asked for CAA records", "repair them: the authority must get an answer"
)
NAME: Final = re.compile(r"[\w*-]+(?:\.[\w-]+)+")

UNREACHABLE: Final = re.compile(
    r"Connection refused|Failed to establish a new connection|NewConnectionError|ConnectTimeout|ReadTimeout|timed out"
    r"|Max retries exceeded|Name or service not known|Temporary failure in name resolution|NameResolutionError"
    r"|Connection reset by peer|Connection aborted|RemoteDisconnected|No route to host|Network is unreachable"
)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why there is no certificate.

    ``retry_at`` (Unix time): when the authority said to retry, if it did. ``heals``: how certbot has to start, to get
    past this by itself; None if that would not help.
    """

    cause: str
    todo: str
    retry_at: float | None = None
    is_bad_nonce: bool = False
    heals: Start | None = None
    #: It is the authority's trouble, or the way to it: nothing follows from it about the names.
    is_servers: bool = False

    def __str__(self) -> str:
        return f"{self.cause}: {self.todo}"


def diagnose(output: str, log: str, now: float, *, by_dns: bool = False) -> Diagnosis:
    """Explain a failed run of certbot from its output and its log file.

    ``now`` is Unix time; ``by_dns``: the challenge was DNS-01.
    """
    return (
        _machine_trouble(output)
        or _rate_limit(output, log, now)
        or _challenge(output, DNS_CHALLENGES if by_dns else CHALLENGES)
        or _connection(output)
        or _problem(output, log)
        or _certbot_itself(output)
    )


def _certbot_itself(output: str) -> Diagnosis:
    """Explain a failure that is neither the machine's nor the authority's: what certbot keeps can be its reason."""
    return Diagnosis(
        f"certbot failed ({_last_line(output)})",
        "see letsencrypt.log in the certbot volume's logs folder",
        heals=Start.AFRESH,
    )


def _machine_trouble(output: str) -> Diagnosis | None:
    refused = re.search(r"^publish: (.*)$", output, re.MULTILINE)
    if "No space left on device" in output or "Disk quota exceeded" in output:
        return Diagnosis(
            "the disk is full (certbot's volume, or that of the published certificates)", "make room on it"
        )
    if refused and "is current" not in refused[1]:
        return Diagnosis("the new certificate was not published", refused[1])
    found = re.search(r"^.*\[Errno (?:13|30)\].*$", output, re.MULTILINE)
    if found:
        return Diagnosis(
            f"something can't be read or written ({found[0].strip()})",
            "give it to the user that the keeper runs as",
            heals=Start.AFRESH,
        )
    if "Another instance of Certbot is already running" in output:
        return Diagnosis("another certbot is running on the same folders", "wait until it is done")
    plugin = NO_PLUGIN.search(output)
    if plugin:
        return Diagnosis(
            f"certbot has no plugin {plugin[1] or plugin[2]}",
            f"build its image with CERTBOT_PLUGINS=certbot-{plugin[1] or plugin[2]}, or correct ACME_CHALLENGE",
        )
    if "Server requires external account binding" in output:  # certbot finds that out before it asks
        return _meant(PROBLEMS["externalAccountRequired"])
    if "credentials INI file" in output and "Input the path" in output:
        return Diagnosis(
            "the DNS plugin has no credentials", "set ACME_DNS_CREDENTIALS to their file, as in tls/cloudflare.ini"
        )
    provider = DNS_PROVIDER.search(output)
    if provider:
        return Diagnosis(
            f"the DNS provider did not take the record ({_shortened(provider[0])})",
            "check ACME_DNS_CREDENTIALS, and that its key may change this zone",
        )
    return None


def _meant(means: Meaning) -> Diagnosis:
    return Diagnosis(means.cause, means.todo, heals=means.heals)


def _rate_limit(output: str, log: str, now: float) -> Diagnosis | None:
    said = output + log
    if "error:rateLimited" not in said and "HTTP 429" not in log:
        return None
    retry_at = _retry_at(said, log, now)
    until = "" if retry_at is None else f" before {_time(retry_at)}"
    detail = _detail(log, "rateLimited")
    if link := re.search(r"https://\S*unpause\S*", detail or output):
        # Let's Encrypt pauses names that failed for months; only a person can end that.
        return Diagnosis("the authority has paused issuing for this name", f"open {link[0]} and unpause it", retry_at)
    said_so = f" ({_shortened(detail)})" if detail else ""
    todo = f"wait; the authority is not asked again{until}" if until else "wait; the keeper asks less and less often"
    return Diagnosis(
        f"the authority's rate limit is reached{said_so}",
        f"{todo}. Retrying by hand only makes it later",
        retry_at,
        is_servers=True,
    )


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


def _challenge(output: str, meanings: Mapping[str, Meaning]) -> Diagnosis | None:
    found = CHALLENGE.search(output)
    if not found:
        return None
    name, kind, detail = found.groups()
    means = meanings.get(kind, Meaning(f"its challenge failed with '{kind}'", "read the authority's message"))
    if "CAA" in detail and FAILING_DNS.search(detail):
        means = CAA_FAILS
    elif kind in ("unauthorized", "dns") and "CAA" in detail:
        means = CHALLENGES["caa"]
    elif kind == "connection" and UNRESOLVED.search(detail):
        means = meanings["dns"]
    return Diagnosis(f"{name}: {means.cause} ({_shortened(detail)})", means.todo)


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
        is_servers=True,
    )


def _problem(output: str, log: str) -> Diagnosis | None:
    kinds = PROBLEM.findall(output) or PROBLEM.findall(log)
    if not kinds and (answers := [int(status) for status in ANSWER.findall(log)]) and answers[-1] >= 500:
        kinds = ["serverInternal"]
    if not kinds:
        return None
    kind = kinds[-1]
    said = _detail(log, kind) or _last_line(output)
    # A name may contain any word, and says nothing about the problem.
    means = meaning(kind, NAME.sub("", said)) or Meaning(f"the authority answered '{kind}'", "read its message")
    # The message is the authority's, so it is passed on whatever we make of it.
    return Diagnosis(
        f"{means.cause} ({_shortened(said)})",
        means.todo,
        is_bad_nonce=kind == "badNonce",
        heals=means.heals,
        is_servers=kind == "serverInternal",
    )


def _detail(log: str, kind: str) -> str:
    """Return what the authority's last problem of this type said."""
    bodies = re.findall(rf"{{[^{{}}]*error:{kind}[^{{}}]*}}", log)
    found = re.search(r'"detail": *"((?:[^"\\]|\\.)*)"', bodies[-1]) if bodies else None
    return found[1].replace('\\"', '"') if found else ""


def _last_line(output: str) -> str:
    noise = ("Ask for help", "See the logfile", "Saving debug log", "Some challenges have failed", "re-run Certbot")
    lines = [line.strip() for line in output.splitlines() if line.strip() and not any(n in line for n in noise)]
    return _shortened(lines[-1]) if lines else "it said nothing"


def _shortened(text: str) -> str:
    return text if len(text) <= 200 else f"{text[:200]}..."


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
