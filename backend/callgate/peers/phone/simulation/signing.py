"""Signs requests as Twilio does: HMAC-SHA1 of the URL and the sorted form. Pure.

Source: https://www.twilio.com/docs/usage/security. The signature of a WebSocket upgrade is over the ``wss://`` URL
exactly as in the TwiML, with no parameters. The fragment of a URL is never signed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urldefrag

from twilio.request_validator import RequestValidator

UpgradeSigner = Callable[[str, str], str | None]
"""Returns ``x-twilio-signature`` for an auth token and a stream's URL; ``None`` leaves the header out."""


def sign_webhook(token: str, url: str, form: Mapping[str, str]) -> str:
    """Return the X-Twilio-Signature of a request for ``url`` with this ``form`` in its body (empty for GET)."""
    return cast(str, RequestValidator(token).compute_signature(urldefrag(url).url, form))


def sign_upgrade(token: str, url: str) -> str | None:
    """Return the x-twilio-signature of a WebSocket upgrade, as Twilio makes it."""
    return sign_webhook(token, url, {})


def sign_nothing(token: str, url: str) -> str | None:
    """Return no signature, as a stranger sends none."""
    return None


def sign_wrongly(token: str, url: str) -> str | None:
    """Return the signature of somebody with another auth token."""
    return sign_upgrade(f"{token}, but another", url)


def sign_as_https(token: str, url: str) -> str | None:
    """Return a signature over the ``https://`` form of the URL, which Twilio never makes."""
    return sign_upgrade(token, "https" + url.removeprefix("wss"))
