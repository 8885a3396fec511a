"""How long a model's server asks to be left alone, wherever it says so. Pure: no I/O, no clock.

A server that is over its limits says so in an HTTP header, or, inside a session, only in the words of an error:
"Please try again in 1.5s.", "… in 350ms", "… in 1m26.4s", and Azure's "Please retry after 16 seconds.".
"""

from __future__ import annotations

import re
from typing import Final

_READ: Final = 2_000  # characters of a message that are examined
_NUMBER: Final = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
_PART: Final = re.compile(
    rf"({_NUMBER})\s?(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?|d|days?)(?![a-z])", re.IGNORECASE
)
_WAIT: Final = re.compile(
    rf"\b(?:try again|retry)\s(?:in|after)\s((?:{_PART.pattern}(?:,?\s(?:and\s)?(?=[0-9]))?)+)", re.IGNORECASE
)
# By what the name of the unit begins with; the longer beginnings come first.
_SECONDS_IN: Final = (("mi", 60.0), ("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0), ("d", 86_400.0))
_IS_NUMBER: Final = re.compile(_NUMBER).fullmatch


def in_words(message: str | None) -> float | None:
    """Return how many seconds the message of an error asks to wait; None: it does not say."""
    if not message or (wait := _WAIT.search(message[:_READ])) is None:
        return None
    return sum(float(number) * _seconds_in(unit.lower()) for number, unit in _PART.findall(wait[1]))


def in_headers(retry_after: str | None, retry_after_ms: str | None = None) -> float | None:
    """Return how many seconds an HTTP answer asks to wait, from the values of ``Retry-After`` and of the more exact
    ``retry-after-ms``, which OpenAI and Azure send as well. None: there is neither, or it is a date."""
    for value, seconds in ((retry_after_ms, 0.001), (retry_after, 1.0)):
        if value is not None and _IS_NUMBER(number := value.strip()):
            return float(number) * seconds
    return None


def _seconds_in(unit: str) -> float:
    if unit.startswith("milli"):
        return 0.001
    return next(seconds for begin, seconds in _SECONDS_IN if unit.startswith(begin))
