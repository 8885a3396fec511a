"""The operator's Twilio account, over its REST API, as far as the set-up needs it."""

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
    """A telephone number of the account, and where its calls go."""

    sid: str
    phone_number: str = field(repr=False)
    webhooks: Webhooks
    takes_calls: bool


class Account:
    """One account. ``http_client``: how Twilio is reached; it must have a deadline.

    Every method raises `SetupRefused` when Twilio says no, or can't be reached.
    """

    def __init__(self, account_sid: str, auth_token: str, http_client: HttpClient) -> None:
        self._sid = account_sid
        self._client = Client(account_sid, auth_token, http_client=http_client)

    def check(self) -> str:
        """Twilio knows the account and its token, and the account is active. Returns its kind: Full or Trial."""
        with _asking("the account"):
            account = self._client.api.v2010.accounts(self._sid).fetch()
        if account.status != "active":
            raise SetupRefused(
                "TWILIO_ACCOUNT_SID",
                found=f"the account is {account.status}",
                wanted="an active account",
                do="see the console's billing page, or ask Twilio's support",
            )
        return str(account.type or "Full")

    def numbers(self) -> list[Number]:
        """Those that can take calls."""
        with _asking("the account's numbers"):
            found = self._client.incoming_phone_numbers.list(limit=MOST_NUMBERS)
        return [number for number in map(_number, found) if number.takes_calls]

    def number(self, phone_number: str) -> Number:
        """The one that is written so."""
        with _asking("the account's numbers"):
            found = self._client.incoming_phone_numbers.list(phone_number=phone_number, limit=MOST_NUMBERS)
        for number in map(_number, found):
            if number.phone_number == phone_number and number.takes_calls:
                return number
        raise SetupRefused(
            "TWILIO_PHONE_NUMBER",
            found="this account has no such number that takes calls",
            wanted="one of the account's own numbers, with the capability Voice",
            do="look at Phone Numbers, Active numbers in the console; is it another account's, or a subaccount's?",
        )

    def number_by_sid(self, sid: str) -> Number:
        """The one with this SID."""
        try:
            with asking():
                return _number(self._client.incoming_phone_numbers(sid).fetch())
        except TwilioRefused as exc:
            if exc.status != NOT_FOUND:
                raise _refusal("the number", exc) from exc
            raise SetupRefused(
                f"The number {sid}",
                found="the account has none of this SID",
                wanted="the number that this script has changed",
                do=f"is it another account's? If you gave it up, remove {FILE}",
            ) from exc
        except TwilioUnreachableError as exc:
            raise _silence(exc) from exc

    def point(self, number: Number, webhooks: Webhooks) -> None:
        """Have the number's calls go there. Only what differs is sent."""
        before = number.webhooks.as_json()
        changes = {name: value for name, value in webhooks.as_json().items() if value != before[name]}
        with _asking("the change of the number"):
            now = Webhooks.of(self._client.incoming_phone_numbers(number.sid).update(**changes))
        if now != webhooks:
            lacking = ", ".join(name for name, _, _ in now.changes_to(webhooks))
            raise SetupRefused(
                "The number",
                found=f"Twilio said yes, and left its {lacking} as it was",
                wanted="all of its webhooks set",
                do="set what is missing by hand in the Twilio console",
            )

    def call_status(self, call_sid: str) -> str:
        """How a call stands: queued, ringing, in-progress, completed, busy, no-answer, canceled or failed."""
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
        wanted="an answer over https",
        do="check this machine's network, its DNS and its clock",
    )


def _refusal(what: str, exc: TwilioRefused) -> SetupRefused:
    if exc.code == NOT_AUTHENTICATED or exc.status == 401:
        return SetupRefused(
            "TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN",
            found="Twilio does not know this pair (error 20003)",
            wanted="the account's SID and its auth token",
            do="copy both from the console's start page; an API key's secret is not an auth token",
        )
    return SetupRefused(
        "Twilio",
        found=f"asked about {what}, it said no: {exc.message} (error {exc.code or exc.status})",
        wanted="yes",
        do=f"see https://www.twilio.com/docs/api/errors/{exc.code}" if exc.code else "try again in a minute",
    )
