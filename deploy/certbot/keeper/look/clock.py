"""Compares this machine's clock with others: the authority's, or, if it can't be asked, with what is stored here."""

from __future__ import annotations

import datetime
import email.utils
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from keeper.look.authority import Directory
from keeper.look.finding import Finding, cant_tell, good, suspicious, wrong
from keeper.pairs import certificate
from keeper.settings import Settings

# Let's Encrypt backdates certificates by an hour; browsers and telephones tolerate less.
SUSPICIOUS_SECONDS: Final = 60.0
WRONG_SECONDS: Final = 3600.0
UNITS: Final = ((86400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds"))


def look_at_clock(directory: Directory, settings: Settings, now: float) -> Finding:
    """Judge the clock, which says ``now`` (Unix time)."""
    theirs = _time(directory.date)
    if theirs is None:
        return _look_here(directory, settings, now)
    off = now - theirs
    if abs(off) >= SUSPICIOUS_SECONDS:
        says = f"this machine's clock is {span(abs(off))} {'fast' if off > 0 else 'slow'}: set it by NTP"
        return wrong(says) if abs(off) >= WRONG_SECONDS else suspicious(says)
    return good("this machine's clock agrees with the ACME server's")


def _time(date: str) -> float | None:
    try:
        time = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return None
    return (time if time.tzinfo else time.replace(tzinfo=datetime.UTC)).timestamp()


def _look_here(directory: Directory, settings: Settings, now: float) -> Finding:
    """Look for times that can't be in the future. Nothing here shows that a clock is fast."""
    published = certificate.read(settings.published / settings.domain / "current" / "fullchain.pem")
    if published and not published.is_self_signed:
        slow = published.not_before.timestamp() - now
        if slow >= WRONG_SECONDS:
            return wrong(
                f"this machine's clock is at least {span(slow)} slow: set it by NTP (by it, the published certificate "
                "is not valid yet)"
            )
    newest = max(_times([Path(__file__), *settings.state.glob("keeper/*")]), default=now)
    if newest - now >= WRONG_SECONDS:
        return suspicious(
            f"this machine's clock may be {span(newest - now)} slow: set it by NTP (by it, a file of the keeper is "
            "from the future)"
        )
    if directory.trouble:
        return cant_tell("whether this machine's clock is right: the ACME server could not be asked for the time")
    return cant_tell("whether this machine's clock is right: the ACME server does not say what time it is")


def _times(files: Iterable[Path]) -> list[float]:
    found = []
    for file in files:
        try:
            found.append(file.stat().st_mtime)
        except OSError:
            continue
    return found


def span(seconds: float) -> str:
    """Write a length of time in the largest unit of which it has at least two."""
    size, unit = next(((size, unit) for size, unit in UNITS if seconds >= 2 * size), UNITS[-1])
    return f"{seconds / size:.0f} {unit}"
