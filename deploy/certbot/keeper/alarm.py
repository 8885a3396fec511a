"""What somebody must know, however it is told: the one place where the keeper decides that a person has to act.

An alarm is raised once and ends once; both are logged here, and `State.alarms` remembers what was raised.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from keeper.pairs.certificate import Certificate
from keeper.state import State
from keeper.words import when

#: The share of the time between the renewal's due date and the certificate's end that may pass before it is alarming.
SHARE_UNALARMING: Final = 0.25

NO_CERTIFICATE: Final = "certificate_missing"
RENEWAL_FAILS: Final = "renewal_failing"
UNSERVED: Final = "certificate_unserved"
UNWRITABLE: Final = "keeper_can_not_write"

log = logging.getLogger("keeper")


def alarms(state: State, published: Certificate | None, name: str, now: float, *, label: str = "") -> dict[str, str]:
    """Return what somebody must know now: the name of each alarm, and its text. ``label``: the certificate's kind, if
    there is another one for the same name."""
    found = {}
    of_its_kind = f"{label} certificate" if label else "certificate"
    callers = f"callers whose clients take only {label} certificates" if label else "callers"
    why = f": {state.failure or state.trouble}" if state.failure or state.trouble else ""
    if published is None or not published.good_for(name, now):
        found[NO_CERTIFICATE] = f"{callers} can't be served, because there is no good {of_its_kind} for {name}{why}"
    elif now >= _alarming_from(published):
        found[RENEWAL_FAILS] = (
            f"the {of_its_kind} for {name} ends {when(published.not_after)}, and it was not renewed although that has "
            f"been due since {when(published.renewal)}{why}"
        )
    if state.unserved and NO_CERTIFICATE not in found:
        found[UNSERVED] = f"{label}: {state.unserved}" if label else state.unserved
    return found


def _alarming_from(published: Certificate) -> float:
    due, end = published.renewal.timestamp(), published.not_after.timestamp()
    return due + SHARE_UNALARMING * (end - due)


def tell(before: Mapping[str, str], now: Mapping[str, str]) -> None:
    """Say which alarms began and which ended."""
    for name in now.keys() - before.keys():
        log.critical("ALARM %s: %s", name, now[name])
    for name in before.keys() - now.keys():
        log.warning("ALARM OVER %s: what was told is no longer so (%s)", name, before[name])
