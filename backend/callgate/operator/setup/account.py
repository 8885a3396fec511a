"""What the set-up needs of the operator's Twilio account, over the REST API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from twilio.http import HttpClient
from twilio.rest import Client

from callgate.network.twilio_rest import NOT_FOUND, TwilioRefused, TwilioUnreachableError, asking

from .kept import FILE
from .refusal import SetupRefused
from .webhooks import Webhooks

MOST_NUMBERS: Final = 1000
NOT_AUTHENTICATED: Final = 20003  # https://www.twilio.com/docs/api/errors/20003


@dataclass(frozen=True, slots=True)
class Number:
    """A phone number of the account, and where its calls go."""

    sid: str
    phone_number: str = field(repr=False)
    webhooks: Webhooks
    takes_calls: bool


class Account:
    """A Twilio account. ``http_client``: sends the requests; it must have a timeout.

    Every method raises `SetupRefused` if Twilio refuses the request, or can't be reached.
    """

    def __init__(self, account_sid: str, auth_token: str, http_client: HttpClient) -> None:
        self._sid = account_sid
        self._client = Client(account_sid, auth_token, http_client=http_client)

    def check(self) -> str:
        """Check that Twilio accepts the token, and that the account is active. Returns its type: Full or Trial."""
        with _asking("the account"):
            account = self._client.api.v2010.accounts(self._sid).fetch()
        if account.status != "active":
            raise SetupRefused(
                "TWILIO_ACCOUNT_SID",
                found=f"the account is {account.status}",
                wanted="an active account",
                do="see the billing page of the Twilio console, or ask Twilio's support",
            )
        return str(account.type or "Full")

    def numbers(self) -> list[Number]:
        """Return the account's numbers that can take calls."""
        with _asking("the account's numbers"):
            found = self._client.incoming_phone_numbers.list(limit=MOST_NUMBERS)
        return [number for number in map(_number, found) if number.takes_calls]

    def number(self, phone_number: str) -> Number:
        """Return the account's entry for a phone number that can take calls."""
        with _asking("the account's numbers"):
            found = self._client.incoming_phone_numbers.list(phone_number=phone_number, limit=MOST_NUMBERS)
        for number in map(_number, found):
            if number.phone_number == phone_number and number.takes_calls:
                return number
        raise SetupRefused(
            "TWILIO_PHONE_NUMBER",
            found="this account has no such number that can take calls",
            wanted="one of the account's own numbers, with the Voice capability",
            do="check Phone Numbers, Active numbers in the Twilio console; does it belong to another (sub)account?",
        )

    def number_by_sid(self, sid: str) -> Number:
        """Return the number with this SID."""
        try:
            with asking():
                return _number(self._client.incoming_phone_numbers(sid).fetch())
        except TwilioRefused as exc:
            if exc.status != NOT_FOUND:
                raise _refusal("the number", exc) from exc
            raise SetupRefused(
                f"The number {sid}",
                found="the account has no number with this SID",
                wanted="the number that this script changed",
                do=f"check whether it belongs to another account; if you released it, remove {FILE}",
            ) from exc
        except TwilioUnreachableError as exc:
            raise _silence(exc) from exc

    def point(self, number: Number, webhooks: Webhooks) -> None:
        """Set the number's webhooks. Only what differs is sent."""
        before = number.webhooks.as_json()
        changes = {name: value for name, value in webhooks.as_json().items() if value != before[name]}
        with _asking("the change of the number"):
            now = Webhooks.of(self._client.incoming_phone_numbers(number.sid).update(**changes))
        if now != webhooks:
            lacking = ", ".join(name for name, _, _ in now.changes_to(webhooks))
            raise SetupRefused(
                "The number",
                found=f"Twilio accepted the change, but did not change {lacking}",
                wanted="all of the number's webhooks set",
                do="set what is missing in the Twilio console",
            )

    def call_status(self, call_sid: str) -> str:
        """Return a call's status: queued, ringing, in-progress, completed, busy, no-answer, canceled or failed."""
        with _asking("the call"):
            return str(self._client.calls(call_sid).fetch().status)


def _number(resource: Any) -> Number:
    return Number(
        str(resource.sid),
        str(resource.phone_number),
        Webhooks.of(resource),
        bool((resource.capabilities or {}).get("voice")),
    )


@contextlib.contextmanager
def _asking(what: str) -> Iterator[None]:
    try:
        with asking():
            yield
    except TwilioRefused as exc:
        raise _refusal(what, exc) from exc
    except TwilioUnreachableError as exc:
        raise _silence(exc) from exc


def _silence(exc: TwilioUnreachableError) -> SetupRefused:
    return SetupRefused(
        "Twilio",
        found=f"api.twilio.com can't be reached ({exc})",
        wanted="an answer over HTTPS",
        do="check this machine's network, DNS and clock",
    )


def _refusal(what: str, exc: TwilioRefused) -> SetupRefused:
    if exc.code == NOT_AUTHENTICATED or exc.status == 401:
        return SetupRefused(
            "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
            found="Twilio does not accept this pair (error 20003)",
            wanted="the account's SID and its auth token",
            do="copy both from the start page of the Twilio console; the secret of an API key is not an auth token",
        )
    return SetupRefused(
        "Twilio",
        found=f"Twilio refused the request for {what}: {exc.message} (error {exc.code or exc.status})",
        wanted="a request that Twilio accepts",
        do=f"see https://www.twilio.com/docs/api/errors/{exc.code}" if exc.code else "try again in a minute",
    )
