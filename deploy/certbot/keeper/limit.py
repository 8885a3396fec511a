"""Let's Encrypt's limit on certificates for the same names in a week. Pure: times are passed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keeper.acme.folders import BACKDATED, WEEK
from keeper.errors import LimitError
from keeper.words import when

#: "5 per exact set of names in 7 days": https://letsencrypt.org/docs/rate-limits/
WEEKLY_LIMIT: Final = 5
#: Let's Encrypt issues five certificates a week for the same names. The last one is for emergencies (`--force`).
SPARED: Final = 1


def check_weekly_limit(issued: Sequence[float], *, by_force: bool) -> None:
    """Raise `LimitError` if the week's certificates are used up. ``issued``: when they were issued, oldest first."""
    allowed = WEEKLY_LIMIT if by_force else WEEKLY_LIMIT - SPARED
    if len(issued) < allowed:
        return
    free_at = issued[len(issued) - allowed] + WEEK + BACKDATED
    last = "" if by_force else "; the last one of the week is reserved for emergencies (--force)"
    raise LimitError(
        f"{len(issued)} certificates of exactly these names were issued within 7 days, and Let's Encrypt allows "
        f"{WEEKLY_LIMIT}: the next one is due after {when(free_at)}{last}",
        free_at,
    )
