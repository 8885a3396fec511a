"""Texts with variables: ``You answer for {called}; it is {weekday}.`` Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from string import Formatter
from typing import Final
from zoneinfo import ZoneInfo

from callgate.core.withheld import WITHHELD, is_withheld

from .parties import Parties

VARIABLES: Final = ("caller", "called", "date", "time", "weekday", "time_zone", "open", "direction")
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# The characters of a phone number or SIP address. Any other text could be an instruction to the model.
_ADDRESS: Final = re.compile(r"[+0-9A-Za-z@.:_-]{1,64}")


def check_text(text: str) -> None:
    """Raise `ValueError` if the text is not a valid template."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError("there is a single { or }: write a literal brace twice") from None
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if name not in VARIABLES or spec or conversion:
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            known = ", ".join(f"{{{each}}}" for each in VARIABLES)
            raise ValueError(f"there is no variable {{{written}}}: there are {known}; write a literal brace twice")


def fill(text: str, values: Mapping[str, str]) -> str:
    """Fill in a text that `check_text` has accepted."""
    return text.format_map(values)


def values(parties: Parties, at: datetime, time_zone: ZoneInfo, *, is_open: bool) -> dict[str, str]:
    """Return the values of all variables at the time ``at``, which is timezone-aware."""
    local = at.astimezone(time_zone)
    return {
        "caller": WITHHELD if is_withheld(parties.caller) else _address(parties.caller),
        "called": _address(parties.called),
        "date": local.strftime("%Y-%m-%d"),
        "time": local.strftime("%H:%M"),
        "weekday": _WEEKDAYS[local.weekday()],
        "time_zone": time_zone.key,
        "open": "open" if is_open else "closed",
        "direction": "outbound" if parties.outbound else "inbound",
    }


def _address(text: str) -> str:
    return text if _ADDRESS.fullmatch(text) else "unknown"
