"""Fetches an ACME directory as certbot does, and prints what was found in one line of JSON.

    python3 -P get_directory.py URL

It uses requests, which certbot uses too. As requests takes proxies and trust from the environment, this is a program of
its own, run with certbot's environment. And it can be ended while it waits for a name server, a proxy or the authority.

It imports nothing of the keeper. What it prints never contains a proxy's user and password: of the proxy it names host
and port only, and of an error only texts that are written here or come from the operating system and OpenSSL.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, prepend_scheme_if_needed, select_proxy

TIMEOUT: Final = 5.0
LONGEST_ANSWER: Final = 65536
HEADERS: Final = {"User-Agent": "callgate-keeper"}
# X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED of openssl/x509_vfy.h. OpenSSL compares the dates last,
# so the certificate is good but for its dates.
DATES: Final = (9, 10)
NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME there; the ssl module has no name for it


class AtAnyTime(HTTPAdapter):
    """Checks a certificate as always, except for its dates."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=_at_any_time())

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=_at_any_time())


def _at_any_time() -> ssl.SSLContext:
    context = urllib3.util.create_urllib3_context()
    context.verify_flags |= NO_CHECK_TIME
    return context


def main(url: str) -> int:
    """Print what was found. Return 0 even if the directory could not be fetched."""
    failures = (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError)
    try:
        found = fetch(url)
    except failures as error:
        found = explain(error)
        if found.get("verify_code") in DATES:
            found["date"] = date(url)
    print(json.dumps({**found, "proxy": proxy(url)}))
    return 0


def fetch(url: str) -> dict[str, Any]:
    """Fetch the directory, following redirects as certbot does."""
    with requests.get(url, headers=HEADERS, timeout=TIMEOUT, stream=True) as answer:
        body = answer.raw.read(LONGEST_ANSWER, decode_content=True)
    found = {"status": answer.status_code, "date": answer.headers.get("Date", "")}
    return {**found, **(contents(body) if answer.status_code == 200 else {})}


def contents(body: bytes) -> dict[str, Any]:
    """Read what matters of a directory (RFC 8555, section 7.1.1)."""
    try:
        directory = json.loads(body)
        meta = directory.get("meta") or {}
        is_directory = "newOrder" in directory
        lists = {"profiles": meta.get("profiles"), "identities": meta.get("caaIdentities")}
        return {
            "is_directory": is_directory,
            **{name: [str(one) for one in found or ()] for name, found in lists.items()},
        }
    except (ValueError, AttributeError, TypeError):
        return {"is_directory": False}


def date(url: str) -> str:
    """Return the server's Date header, whatever the dates of its certificate; empty if there is none."""
    with requests.Session() as session:
        session.mount("https://", AtAnyTime())
        try:
            with session.get(url, headers=HEADERS, timeout=TIMEOUT, stream=True, allow_redirects=False) as answer:
                return answer.headers.get("Date", "")
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError, ValueError):
            return ""


def proxy(url: str) -> str:
    """Return the host and port of the proxy that is used for a URL; empty if there is none, or they can't be read."""
    named = select_proxy(url, get_environ_proxies(url))
    if not named:
        return ""
    try:
        parts = urlsplit(prepend_scheme_if_needed(named, "http"))
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except (ValueError, urllib3.exceptions.HTTPError):
        return ""


def explain(error: Exception) -> dict[str, Any]:
    """Say why there is no directory: ``trouble``, ``why``, and what else is known."""
    every = list(causes(error))
    is_proxy = any(isinstance(one, requests.exceptions.ProxyError | urllib3.exceptions.ProxyError) for one in every)
    for one in every:
        if isinstance(one, requests.exceptions.InvalidProxyURL | urllib3.exceptions.LocationParseError):
            return {"trouble": "proxy-unusable", "why": "its address can't be read"}
        if isinstance(one, requests.exceptions.InvalidSchema) and "SOCKS" in str(one):
            return {"trouble": "proxy-unusable", "why": "it is a SOCKS proxy, and the package PySocks is missing"}
        if isinstance(one, ssl.SSLCertVerificationError) and not is_proxy:
            return {"trouble": "untrusted", "why": one.verify_message, "verify_code": one.verify_code}
        if refused := re.match(r"Tunnel connection failed: (\d{3})\b", str(one)):
            return {"trouble": "proxy-refuses", "why": f"status {refused[1]}", "status": int(refused[1])}
        if "CA certificate bundle, invalid path" in str(one):
            return {"trouble": "no-ca-file", "why": "there is no such file"}
    return {"trouble": "proxy-unreachable" if is_proxy else "unreachable", "why": _why(every)}


def _why(every: list[BaseException]) -> str:
    for one in every:
        if isinstance(one, socket.gaierror):
            return "its name is not known here"
        if isinstance(one, TimeoutError | requests.Timeout | urllib3.exceptions.TimeoutError) and not isinstance(
            one, urllib3.exceptions.NewConnectionError
        ):
            return "it does not answer"
        if isinstance(one, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {one.verify_message}"
        if isinstance(one, ssl.SSLError):
            return f"TLS failed: {one.reason or type(one).__name__}"
        if isinstance(one, OSError) and isinstance(one.errno, int):
            return os.strerror(one.errno)
    return "it closed the connection" if len(every) > 1 else type(every[0]).__name__


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that led to it, the outermost first."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        linked = [one.__cause__, one.__context__, getattr(one, "reason", None), *one.args]
        waiting += [other for other in linked if isinstance(other, BaseException)]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
