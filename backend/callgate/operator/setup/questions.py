"""The questions that the step ``env`` asks, in order, and how each answer is checked."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from callgate.core.masking import mask_number

from .account import Account, Number
from .checks import check_domain, check_openai
from .refusal import SetupRefused
from .settings import FIELDS, check_form
from .setup import Setup

# If one of these names another model server than OpenAI's, the OpenAI key is not asked for.
OTHER_MODELS: Final = ("AZURE_OPENAI_ENDPOINT", "OPENAI_REALTIME_URL")

Texts = Sequence[str]


@dataclass(frozen=True, slots=True)
class Question:
    """Settings that are asked for and checked together. ``check`` is given their texts, and returns what it found.

    ``default``: says what an empty answer means; without it, an answer is required. ``suggest``: returns a text, so
    that the question need not be asked.
    """

    names: tuple[str, ...]
    prompts: tuple[str, ...]
    check: Callable[[Texts], str] = lambda texts: ""
    default: str | None = None
    suggest: Callable[[], str] | None = None


class Questions:
    """All questions, in order. ``accepted``: the answers so far, which later questions may need."""

    def __init__(self, setup: Setup, accepted: Mapping[str, str]) -> None:
        self._setup = setup
        self._accepted = accepted

    def __iter__(self) -> Iterator[Question]:
        if self._text("BASE_URL"):  # a tunnel's address: no domain of the operator's own is needed
            yield Question(("BASE_URL",), ("The tunnel's address",))
        else:
            yield Question(
                ("DOMAIN",),
                ("The domain where Twilio will send calls, for example voice.example.com",),
                self._check_domain,
            )
            yield Question(("ACME_EMAIL",), ("Your e-mail address, for Let's Encrypt",), default="no address")
        account = ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN")
        yield Question(account, ("Twilio account SID", "Twilio auth token"), self._check_account)
        number = ("TWILIO_PHONE_NUMBER",)
        yield Question(number, ("Twilio phone number",), self._check_number, suggest=self._choose_number)
        if not any(map(self._text, OTHER_MODELS)):
            default = "the line check answers calls, and repeats what the caller says"
            yield Question(("OPENAI_API_KEY",), ("OpenAI API key",), self._check_openai, default=default)
        yield Question(("ADMIN_TOKEN",), ("Admin token",), suggest=self._make_token)
        yield Question(("TEST_CALL_TO",), ("The phone number to ring for the test call",), default="no test call")

    def _text(self, name: str) -> str:
        return self._accepted.get(name) or self._setup.settings.text(name)

    def _check_domain(self, texts: Texts) -> str:
        own_authority = bool(self._setup.env_file.read().get("ACME_SERVER"))
        return check_domain(check_form("DOMAIN", texts[0]), self._setup.outside, own_authority=own_authority)

    def _account(self, account_sid: str, auth_tokens: str) -> Account:
        return Account(account_sid, check_form("TWILIO_AUTH_TOKEN", auth_tokens)[0], self._setup.outside.twilio)

    def _check_account(self, texts: Texts) -> str:
        kind = self._account(*texts).check()
        more = (
            " A trial account can call only numbers that are verified in the Twilio console." if kind == "Trial" else ""
        )
        return f"Twilio accepts the account SID and the auth token.{more}"

    def _check_number(self, texts: Texts) -> str:
        wanted = check_form("TWILIO_PHONE_NUMBER", texts[0])
        number = self._account(self._text("TWILIO_ACCOUNT_SID"), self._text("TWILIO_AUTH_TOKEN")).number(wanted)
        return f"The account has the number {mask_number(number.phone_number)}."

    def _choose_number(self) -> str:
        numbers = self._account(self._text("TWILIO_ACCOUNT_SID"), self._text("TWILIO_AUTH_TOKEN")).numbers()
        return choose_number(self._setup, numbers).phone_number

    def _check_openai(self, texts: Texts) -> str:
        return check_openai(
            texts[0], self._text("OPENAI_MODEL") or str(FIELDS["OPENAI_MODEL"].default), self._setup.outside
        )

    def _make_token(self) -> str:
        self._setup.terminal.say("ADMIN_TOKEN is not set, so a random one is generated.")
        return secrets.token_urlsafe(32)


def choose_number(setup: Setup, numbers: Sequence[Number]) -> Number:
    """Return the only number, or the operator's choice. Raises `SetupRefused` if there is none, or nobody to ask."""
    if not numbers:
        raise SetupRefused(
            "TWILIO_PHONE_NUMBER",
            found="the account has no number that can take calls",
            wanted="a number with the Voice capability",
            do="buy one in the Twilio console, under Phone Numbers",
        )
    if len(numbers) == 1:
        return numbers[0]
    if not setup.terminal.can_ask:
        raise SetupRefused(
            "TWILIO_PHONE_NUMBER",
            found=f"the account has {len(numbers)} numbers",
            wanted="the one to use",
            do="name it with --twilio-phone-number",
        )
    shown = [f"{mask_number(number.phone_number)}  ({number.sid})" for number in numbers]
    return numbers[setup.terminal.choose("Which number should Callgate answer?", shown)]
