"""Text of others, as far as it may stand in a log, a receipt, the store or an answer. Pure.

What a peer writes may hold line breaks that forge a line, escapes that drive a terminal, telephone numbers, and, from a
model that has heard a call, what was said in it. So there are two ways to tell of it. `foreign` is for texts that an
operator needs, of peers that know nothing of what was said: a line, cut and cleaned. `described` is for what comes over
a model's session that knows it: names only, and how long the text was that is left out.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 200  # characters of a foreign text that are shown
_READ: Final = 2048  # characters of it that are looked at
_LONGEST_NAME: Final = 64

# How the digits of a telephone number may be set apart.
_GAP: Final = r"(?:%20|%2[Dd]|[ ().\-/_\u00b7\u2010-\u2015])"
_MORE_DIGITS: Final = rf"(?:{_GAP}{{0,2}}\d)"
_INTERNATIONAL: Final = rf"(?:[+\uff0b]|%2[Bb]){_MORE_DIGITS}{{7,}}"

# In our own messages a long number may be a count, so only what must be a telephone number is taken for one.
_NUMBER: Final = re.compile(
    rf"{_INTERNATIONAL}|(?<![\w.:,*/-])00{_MORE_DIGITS}{{7,}}|(?<![0-9A-Za-z*_.-])\d{{10,}}(?![0-9A-Za-z])"
)

# In a foreign text each long run of digits is, unless it is Twilio's id of something, an IPv4 address or a date.
_SID: Final = r"(?<![0-9A-Za-z])[A-Z]{2}[0-9a-f]{32}(?![0-9A-Za-z])"
_OCTET: Final = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ADDRESS: Final = rf"(?<![\d.])(?:{_OCTET}\.){{3}}{_OCTET}(?!\.?\d)"
_DATE: Final = r"(?<!\d)(?:19|20)\d\d-[01]\d-[0-3]\d(?!\d)"
_FOREIGN_NUMBER: Final = re.compile(rf"(?P<kept>{_SID}|{_ADDRESS}|{_DATE})|{_INTERNATIONAL}|\d{_MORE_DIGITS}{{6,}}")

_ADDRESS_USER: Final = re.compile(r"://[^\s/@]*@")
_ADDRESS_QUERY: Final = re.compile(r"(://[^\s?]*)\?[^\s'\"`)>]*")

# A quotation, up to its end or the text's. The ' in "can't" begins none, and ends none; the one of b'…' does.
_CLOSING: Final = {
    "'": "'", '"': '"', "`": "`", "‘": "’", "‚": "‘’", "“": "”", "„": "“”", "«": "»", "»": "«", "‹": "›", "›": "‹",
    "「": "」", "『": "』",
}  # fmt: skip
_QUOTED: Final = re.compile(
    "|".join(
        rf"(?<!\w)[bBrRuU]{{0,2}}{begin}(?:\\.|(?![{ends}](?!\w))[^\\])*(?:[{ends}]|\\?$)"
        if begin in "'‘‚"
        else rf"{begin}(?:\\.|[^\\{ends}])*(?:[{ends}]|\\?$)"
        for begin, ends in _CLOSING.items()
    )
)


def foreign(text: str, longest: int = LONGEST) -> str:
    """The first line of a text that others wrote, cut: without its quotations, unless they are names, without what an
    address holds beside the place, and with its telephone numbers masked. What follows mostly is what they quote."""
    lines = text.strip()[:_READ].splitlines() or [""]
    line = " ".join(printable(lines[0]).split())
    line = _ADDRESS_QUERY.sub(r"\1?…", _ADDRESS_USER.sub("://***@", line))
    cleaned = mask_all_numbers(_QUOTED.sub(lambda match: _quotation(match[0]), line))
    is_whole = len(lines) == 1 and len(text.strip()) <= _READ and len(cleaned) <= longest
    return cleaned if is_whole else f"{cleaned[:longest].rstrip()} …"


def described(code: object, kind: object = None, param: object = None, message: object = None) -> str:
    """An error that a model's server told of, without its words: ``code``, ``kind`` (its type) and ``param`` where they
    are names, and the length of the rest."""
    more = [f"type {name_or_length(kind)}"] if kind and kind != code else []
    more += [f"param {name_or_length(param, '[]')}"] if param else []
    more += [left_out(message)] if message else []
    return (name_or_length(code) if code else "no code") + (f" ({', '.join(more)})" if more else "")


def left_out(text: object) -> str:
    """What stands in the place of a text that may not be shown."""
    size = len(str(text))
    return f"{size} character{'' if size == 1 else 's'} of text left out"


def name_or_length(value: object, also: str = "") -> str:
    """A value that should be a name (of a code, a type, a field) if it looks like one; else how long it is."""
    return str(value) if is_name(value, also) else f"[{left_out(value)}]"


def is_name(value: object, also: str = "") -> bool:
    """Whether this is a name as programs give them, and holds no telephone number. ``also``: signs that may be in it
    beside letters, digits and ``_.:-``."""
    return (
        isinstance(value, str)
        and 1 <= len(value) <= _LONGEST_NAME
        and value.isascii()
        and all(sign.isalnum() or sign in "_.:-" or sign in also for sign in value)
        and mask_all_numbers(value) == value
    )


def printable(text: str) -> str:
    """The text with nothing in it that ends a line or moves a cursor. Spaces of other kinds become plain ones."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else " " if sign.isspace() else "\ufffd" for sign in text)


def mask_number(number: str) -> str:
    """A phone number of which only the country's first digits and the last two are left: ``+1555*****00``."""
    return number if len(number) < 8 else number[:4] + "*" * (len(number) - 6) + number[-2:]


def mask_numbers(text: str) -> str:
    """A text of our own with its telephone numbers masked."""
    return _NUMBER.sub(lambda match: _masked(match[0]), text)


def mask_all_numbers(text: str) -> str:
    """A foreign text with every long run of digits masked."""
    return _FOREIGN_NUMBER.sub(lambda match: match[0] if match["kept"] else _masked(match[0]), text)


def _masked(number: str) -> str:
    """A number as it was found: with a ``+``, or as ``00…``, or bare."""
    digits = "".join(sign for sign in re.sub("%2[0BDbd]", " ", number) if sign.isdecimal())
    if number[0].isdecimal():
        return "*" * (len(digits) - 2) + digits[-2:]
    return mask_number(f"+{digits}")


def _quotation(quoted: str) -> str:
    text = quoted.lstrip("bBrRuU")
    begin, end = text[0], _CLOSING[text[0]]
    is_kept = len(text) > 1 and text[-1] in end and (len(text) == 2 or is_name(text[1:-1], "/[]"))
    return quoted if is_kept else f"{begin}…{end[0]}"
