"""Texts with variables: ``You answer for {called}; it is {weekday}.`` Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from string import Formatter
from typing import Final
from zoneinfo import ZoneInfo

from .parties import Parties

VARIABLES: Final = ("caller", "called", "date", "time", "weekday", "time_zone", "open", "direction")
_WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# What a caller's number, or a SIP address, is made of. All else could be an instruction to the model.
_ADDRESS: Final = re.compile(r"[+0-9A-Za-z@.:_-]{1,64}")


def check_text(text: str) -> None:
    """Raise `ValueError` where a text can't be filled in."""
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError("there is a single { or }: a brace that is meant as such is written twice") from None
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        if name not in VARIABLES or spec or conversion:
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            known = ", ".join(f"{{{each}}}" for each in VARIABLES)
            raise ValueError(
                f"there is no variable {{{written}}}: there are {known}; a brace that is meant as such is written twice"
            )


def fill(text: str, values: Mapping[str, str]) -> str:
    """The text with its variables' values. It is one that `check_text` takes."""
    return text.format_map(values)


def values(parties: Parties, at: datetime, time_zone: ZoneInfo, *, is_open: bool) -> dict[str, str]:
    """The values of all variables, at a moment which knows its time zone."""
    local = at.astimezone(time_zone)
    return {
        "caller": _address(parties.caller),
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
