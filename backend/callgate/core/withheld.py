"""What Twilio writes in place of a caller's number when there is none. Pure.

A carrier passes on a word instead of a number. Twilio passes it on too, or writes it as the keys of a telephone that
spell it. See Twilio's article 223179988, "Why am I getting calls from these strange numbers?", and its change of
2022-11-16, "Upcoming changes to withheld caller ID behavior". None of the numbers can be a subscriber's: they are too
short for the country that they seem to be in.
"""

from __future__ import annotations

import re
from typing import Final

WITHHELD: Final = "withheld"  # what agents, logs and the store are told instead

_STAND_INS: Final = frozenset(
    {
        "266696687",  # ANONYMOUS
        "2562533",  # BLOCKED
        "7748283",  # PRIVATE
        "7378742833",  # RESTRICTED
        "86282452253",  # UNAVAILABLE
        "8656696",  # UNKNOWN
        "8566696",  # UNKNOWN, as Twilio's article has it
        "464",  # none at all
        "anonymous",
        "blocked",
        "no caller id",
        "private",
        "restricted",
        "unavailable",
        "unknown",
        WITHHELD,
        "",
    }
)
_SIP: Final = re.compile(r"sips?:([^@;]*)(?:@.*)?")


def is_withheld(number: str) -> bool:
    """Whether Twilio tells no number here, but what stands in for one."""
    name = number.strip().lower()
    if (address := _SIP.fullmatch(name)) is not None:
        name = address[1]
    return name.removeprefix("+").strip() in _STAND_INS
