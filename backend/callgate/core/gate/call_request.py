"""The fields of a request for an outbound call, and how bad ones are refused. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from callgate.core.withheld import is_withheld
from callgate.errors import OutboundRefused

from .numbers import NOBODYS, read_number

VOICEMAIL_HANG_UP: Final = "hang-up"
VOICEMAIL_TALK: Final = "talk"
LONGEST_MESSAGE: Final = 500  # characters: the message travels in the URL of a webhook
VOICEMAIL_HELP: Final = (
    f"{VOICEMAIL_HANG_UP}, {VOICEMAIL_TALK}, or a text on one line, of at most {LONGEST_MESSAGE} characters"
)
SHORTEST_LIMIT: Final = 10  # seconds
FIELDS: Final = ("to", "from", "voicemail", "limit")


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRequest:
    """A request for an outbound call. ``to``: E.164; ``from_number``: E.164, or None for the service's own number.

    ``voicemail``: what to do when a machine answers: `VOICEMAIL_HANG_UP`, `VOICEMAIL_TALK` (no detection), or a text to
    leave as a message. ``limit``: how long the call may last, in seconds.
    """

    to: str = field(repr=False)
    from_number: str | None = field(default=None, repr=False)
    voicemail: str = VOICEMAIL_HANG_UP
    limit: int = 600

    @property
    def message(self) -> str | None:
        """The message to leave on a machine, if any."""
        return None if self.voicemail in (VOICEMAIL_HANG_UP, VOICEMAIL_TALK) else self.voicemail

    def fingerprint(self, key: str) -> str:
        """Return a hash that two requests under one idempotency key share only if they ask for the same call."""
        asked = json.dumps([key, self.to, self.from_number, self.voicemail, self.limit])
        return hashlib.sha256(asked.encode()).hexdigest()


def read_request(values: Mapping[str, Any], voicemail: str, longest: int) -> CallRequest:
    """Read a request's fields. ``voicemail``, ``longest``: the settings. Raises `OutboundRefused` (400)."""
    for name in values:
        if name not in FIELDS:
            raise _bad(f"There is no field {name!r}.", f"Send {', '.join(FIELDS)}.")
    return CallRequest(
        to=_number("to", values.get("to")),
        from_number=None if values.get("from") is None else _number("from", values["from"]),
        voicemail=_voicemail(values.get("voicemail") or voicemail),
        limit=_limit(values.get("limit"), longest),
    )


def is_voicemail(text: str) -> bool:
    """Whether this text says what to do about machines."""
    return text.isprintable() and 0 < len(text.strip()) <= LONGEST_MESSAGE


def _voicemail(value: object) -> str:
    if not isinstance(value, str) or not is_voicemail(value):
        raise _bad("voicemail is not usable.", f"Send {VOICEMAIL_HELP}.")
    return value.strip()


def _number(name: str, value: object) -> str:
    number = read_number(value) if isinstance(value, str) else None
    if number is None:
        raise _bad(f"{name} is not a telephone number.", "Write it with + and country code, as in +15551230000.")
    if is_withheld(number):
        raise _bad(f"{name} is no telephone number: {NOBODYS}.", "This caller can't be called: ask them for a number.")
    return number


def _limit(value: object, longest: int) -> int:
    if value is None:
        return longest
    if not re.fullmatch(r"[0-9]{1,6}", str(value)) or not SHORTEST_LIMIT <= int(str(value)) <= longest:
        raise _bad(
            "limit is not usable.",
            f"Send a whole number of seconds, from {SHORTEST_LIMIT} to {longest} (OUTBOUND_SECONDS).",
        )
    return int(str(value))


def _bad(error: str, fix: str) -> OutboundRefused:
    return OutboundRefused(400, error, fix)
