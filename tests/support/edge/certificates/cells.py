"""One cell of the table: a state, an action, and what is served, said and issued afterwards."""

from __future__ import annotations

import datetime
import re
from dataclasses import dataclass
from typing import Final

from cryptography import x509

from support.edge.certificates.states import State
from support.edge.certificates.station import Station

START: Final = "start"
DUE: Final = "renewal due"
EXPIRED: Final = "after expiry"
BY_HAND: Final = "issue-cert.sh"
FORCE: Final = "--force"
ACTIONS: Final = (START, DUE, EXPIRED, BY_HAND, FORCE)
MOST_ISSUED: Final = 2
# Shares of a certificate's life. certbot renews at a half, if it is that short.
AGE: Final = {DUE: 0.55, EXPIRED: 1.02}


@dataclass(frozen=True, slots=True)
class Cell:
    """The outcome. ``problem``: which rule was broken; empty if none was."""

    state: str
    action: str
    served: str
    issued: int
    said: str
    problem: str


def is_brief(action: str) -> bool:
    """Whether an action needs a station whose certificates live for seconds."""
    return action in AGE


def fill(station: Station, state: State, action: str) -> Cell:
    """Bring an installation into a state, let it come due or expire, act, and look."""
    station.install()
    before = station.served()
    station.count_from_here()
    state.damage(station)
    if action in AGE:
        station.wait_for_age(AGE[action])
    was_served = station.served_certificate()
    if action in (BY_HAND, FORCE):
        station.act("issue", *(["--force"] if action == FORCE else []))
    else:
        station.serve()
    now = station.served_certificate()
    says = station.first_complaint()
    if now is None:
        served = "nothing"
    elif now.serial_number == before:
        served = "the same"
    else:
        served = "a new one"
    return Cell(state.name, action, served, station.issued, says, _problem(station, state, action, was_served, now))


def _problem(
    station: Station, state: State, action: str, was_served: x509.Certificate | None, now: x509.Certificate | None
) -> str:
    says = station.first_complaint()
    if was_served and now is None and was_served.not_valid_after_utc > datetime.datetime.now(datetime.UTC):
        return "a good pair was lost"
    if was_served and now and now.not_valid_before_utc < was_served.not_valid_before_utc:
        return "an older pair took the place of a newer one"
    if station.issued > MOST_ISSUED:
        return f"{station.issued} certificates were issued"
    wanted = state.cause or (state.refused if action in (BY_HAND, FORCE) else "")
    if wanted:
        # Where it did not matter yet, or was no hindrance after all, nothing needs to be said.
        return "" if re.search(wanted, says) or (now and not says) else f"the cause is not named: {says!r}"
    if state.refused and action == EXPIRED:  # nobody but its owner can replace it
        return "" if "ALARM certificate_missing" in station.said else "no alarm was raised"
    if now is None:
        return f"no good certificate is served: {station.said[-300:]!r}"
    if station.status:
        return f"it ended with status {station.status}: {says!r}"
    if action in (DUE, FORCE) and station.issued == 0 and not state.refused:
        return "nothing was issued"
    return ""
