"""Whether a request comes from Twilio, and for this account. Pure.

Twilio signs the URL it was given, exactly as written in the console or in our TwiML, together with the form's
parameters (https://www.twilio.com/docs/usage/security). Behind nginx or a tunnel the request arrives here with another
scheme, host and port, so the URL is always built from the configured public one, never from the request's headers. A
WebSocket upgrade is signed over its ``wss://`` URL and no parameters.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from twilio.request_validator import (
    SIGNATURE_HEADER,
    SIGNATURE_SETTINGS_HEADER,
    RequestValidator,
    get_signature_algorithm,
)
from werkzeug.datastructures import Headers, MultiDict

from callgate.core.foreign import foreign, name_or_length
from callgate.errors import RequestRefused


def edge_proof(key: str) -> str:
    """Return the proof by which the edge recognises a URL that we gave to Twilio and nobody else: 32 hexadecimal
    digits.

    nginx can't check a signature. It derives the same proof from the same ``key`` (deploy/nginx/entrypoint), applies
    separate limits to requests that show it, and discloses FALLBACK_DIAL only to them.
    """
    return hashlib.sha256(f"callgate edge proof:{key}".encode()).hexdigest()[:32]


class SignatureCheck:
    """Checks that requests come from Twilio. ``tokens``: any of them may have signed, as one may be in rotation."""

    def __init__(self, tokens: Iterable[str], base_url: str, *, account_sid: str | None = None) -> None:
        self._validators = [RequestValidator(token) for token in tokens]
        self._account_sid = account_sid
        self.https_url = base_url
        self.wss_url = "wss" + base_url.removeprefix("https")

    def check_webhook(self, target: str, form: MultiDict[str, str], headers: Headers) -> None:
        """Refuse a webhook that isn't Twilio's. ``target``: path and raw query; ``form``: empty for GET.

        Raises `RequestRefused`.
        """
        self._check(self.https_url + target, form, headers)

    def check_account(self, account_sid: str) -> None:
        """Refuse a call of another account. Raises `RequestRefused`."""
        if self._account_sid is not None and account_sid != self._account_sid:
            whose = name_or_length(account_sid) if account_sid else "(none)"
            raise RequestRefused(f"the call belongs to account {whose}, not to TWILIO_ACCOUNT_SID")

    def check_upgrade(self, target: str, headers: Headers) -> None:
        """Refuse a WebSocket upgrade that isn't Twilio's. Raises `RequestRefused`."""
        self._check(self.wss_url + target, MultiDict(), headers)

    def _check(self, url: str, form: MultiDict[str, str], headers: Headers) -> None:
        signature = headers.get(SIGNATURE_HEADER)
        if not signature:
            raise RequestRefused("there is no X-Twilio-Signature: the request is not from Twilio")
        algorithm = get_signature_algorithm(headers.get(SIGNATURE_SETTINGS_HEADER, ""))
        if not any(v.validate(url, form, signature, algorithm) for v in self._validators):
            raise RequestRefused(
                f"X-Twilio-Signature does not match TWILIO_AUTH_TOKEN for {foreign(url.partition('?')[0])}: either the "
                "token belongs to another account, or Twilio was given a URL that does not begin with BASE_URL"
            )
