"""How Twilio signs what it asks: HMAC-SHA1 of the URL and the sorted form. Pure.

Source: https://www.twilio.com/docs/usage/security. A WebSocket upgrade is signed over the ``wss://`` URL exactly as it
stands in the TwiML, with no parameters. The fragment of a URL is never signed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import urldefrag

from twilio.request_validator import RequestValidator

UpgradeSigner = Callable[[str, str], str | None]
"""From the auth token and the stream's URL, the value of ``x-twilio-signature``; ``None`` leaves the header out."""


def sign_webhook(token: str, url: str, form: Mapping[str, str]) -> str:
    """The X-Twilio-Signature of a request for ``url`` with the ``form`` in its body (empty for GET)."""
    return cast(str, RequestValidator(token).compute_signature(urldefrag(url).url, form))


def sign_upgrade(token: str, url: str) -> str | None:
    """The x-twilio-signature of a WebSocket upgrade, as Twilio makes it."""
    return sign_webhook(token, url, {})


def sign_nothing(token: str, url: str) -> str | None:
    """No signature at all, as of a stranger."""
    return None


def sign_wrongly(token: str, url: str) -> str | None:
    """The signature of somebody with another auth token."""
    return sign_upgrade(f"{token}, but another", url)


def sign_as_https(token: str, url: str) -> str | None:
    """The signature over the ``https://`` form of the URL, which Twilio never makes."""
    return sign_upgrade(token, "https" + url.removeprefix("wss"))
