"""Text written by others, made safe to show in a log, a receipt, the store or an answer. Pure.

Text from a peer may contain line breaks that forge log lines, escape sequences that drive a terminal, telephone
numbers, and, if it comes from a model that has heard a call, what was said in the call. There are therefore two ways to
report it. `foreign` is for texts that an operator needs, from peers that know nothing of what was said: one line,
shortened and cleaned. `described` is for what arrives over the session of a model that does know: only names, and the
length of the text that was left out.
"""

from __future__ import annotations

import re
from typing import Final

from .masking import mask_all_numbers

LONGEST: Final = 200  # characters of a foreign text that are shown
_READ: Final = 2048  # characters of it that are examined
_LONGEST_NAME: Final = 64

_ADDRESS_USER: Final = re.compile(r"://[^\s/@]*@")
_ADDRESS_QUERY: Final = re.compile(r"(://[^\s?]*)\?[^\s'\"`)>]*")

# A quotation, up to its closing mark or the end of the text. The ' in "can't" neither opens nor closes one; the one in
# b'…' does.
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
    """Return the first line of a text that others wrote, shortened: quotations are removed unless they are names, an
    address keeps only its scheme, host and path, and telephone numbers are masked. The lines after the first mostly
    quote others."""
    lines = text.strip()[:_READ].splitlines() or [""]
    line = " ".join(printable(lines[0]).split())
    line = _ADDRESS_QUERY.sub(r"\1?…", _ADDRESS_USER.sub("://***@", line))
    cleaned = mask_all_numbers(_QUOTED.sub(lambda match: _quotation(match[0]), line))
    is_whole = len(lines) == 1 and len(text.strip()) <= _READ and len(cleaned) <= longest
    return cleaned if is_whole else f"{cleaned[:longest].rstrip()} …"


def described(code: object, kind: object = None, param: object = None, message: object = None) -> str:
    """Describe an error reported by a model's server without quoting it: ``code``, ``kind`` (its type) and ``param``
    where they are names, and the length of the message."""
    more = [f"type {name_or_length(kind)}"] if kind and kind != code else []
    more += [f"param {name_or_length(param, '[]')}"] if param else []
    more += [left_out(message)] if message else []
    return (name_or_length(code) if code else "no code") + (f" ({', '.join(more)})" if more else "")


def left_out(text: object) -> str:
    """Return the placeholder for a text that may not be shown."""
    size = len(str(text))
    return f"{size} character{'' if size == 1 else 's'} of text left out"


def name_or_length(value: object, also: str = "") -> str:
    """Return a value that should be a name (of a code, a type, a field) if it looks like one; otherwise its length."""
    return str(value) if is_name(value, also) else f"[{left_out(value)}]"


def is_name(value: object, also: str = "") -> bool:
    """Whether this looks like an identifier and contains no telephone number. ``also``: characters that are allowed
    besides letters, digits and ``_.:-``."""
    return (
        isinstance(value, str)
        and 1 <= len(value) <= _LONGEST_NAME
        and value.isascii()
        and all(sign.isalnum() or sign in "_.:-" or sign in also for sign in value)
        and mask_all_numbers(value) == value
    )


def printable(text: str) -> str:
    """Replace everything that ends a line or moves a cursor. Whitespace of any kind becomes a plain space."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else " " if sign.isspace() else "\ufffd" for sign in text)


def _quotation(quoted: str) -> str:
    text = quoted.lstrip("bBrRuU")
    begin, end = text[0], _CLOSING[text[0]]
    is_kept = len(text) > 1 and text[-1] in end and (len(text) == 2 or is_name(text[1:-1], "/[]"))
    return quoted if is_kept else f"{begin}…{end[0]}"
