"""Telephone numbers as logs, receipts and commands show them: only the last two digits are visible. Pure."""

from __future__ import annotations

import re
from typing import Final

from .withheld import WITHHELD, is_withheld

# The separators allowed between the digits of a telephone number.
_GAP: Final = r"(?:%20|%2[Dd]|[ ().\-/_\u00b7\u2010-\u2015])"
_MORE_DIGITS: Final = rf"(?:{_GAP}{{0,2}}\d)"
_INTERNATIONAL: Final = rf"(?:[+\uff0b]|%2[Bb]){_MORE_DIGITS}{{7,}}"

# In this service's own messages a long number may be a count, so only what must be a telephone number is treated as
# one.
_NUMBER: Final = re.compile(
    rf"{_INTERNATIONAL}|(?<![\w.:,*/-])00{_MORE_DIGITS}{{7,}}|(?<![0-9A-Za-z*_.-])\d{{10,}}(?![0-9A-Za-z])"
)

# In a foreign text every long run of digits is treated as one, unless it is a Twilio SID, an IPv4 address or a date.
_SID: Final = r"(?<![0-9A-Za-z])[A-Z]{2}[0-9a-f]{32}(?![0-9A-Za-z])"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ADDRESS: Final = rf"(?<![\d.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\.?\d)"
_DATE: Final = r"(?<!\d)(?:19|20)\d\d-[01]\d-[0-3]\d(?!\d)"
_FOREIGN_NUMBER: Final = re.compile(rf"(?P<kept>{_SID}|{_ADDRESS}|{_DATE})|{_INTERNATIONAL}|\d{_MORE_DIGITS}{{6,}}")


def mask_number(number: str) -> str:
    """Mask a number for logs and commands, leaving only its last two digits: ``+*********34``. Anything else in a
    number's place (a SIP address, a client's name, an emergency number) is hidden completely."""
    if not number:
        return ""
    if not re.fullmatch(r"\+?[\d ().-]{5,}", number):
        return "***"
    return re.sub(r"\d", "*", number[:-2]) + number[-2:]


def mask_caller(number: str) -> str:
    """Mask the number of a caller, as Twilio writes it, who may have withheld it."""
    return WITHHELD if is_withheld(number) else mask_number(number)


def mask_numbers(text: str) -> str:
    """Mask the telephone numbers in a text that this service wrote."""
    return _NUMBER.sub(lambda match: _masked(match[0]), text)


def mask_all_numbers(text: str) -> str:
    """Mask every long run of digits in a foreign text."""
    return _FOREIGN_NUMBER.sub(lambda match: match[0] if match["kept"] else _masked(match[0]), text)


def _masked(number: str) -> str:
    """Mask a number in the form in which it was found: with a ``+``, with ``00…``, or bare."""
    digits = "".join(sign for sign in re.sub("%2[0BDbd]", " ", number) if sign.isdecimal())
    return mask_number(digits if number[0].isdecimal() else f"+{digits}")
