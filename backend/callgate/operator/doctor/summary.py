"""The checklist at the end of the report: what must hold for a call, each point ticked by what was found. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from .finding import Result, Status

#: What must hold, and the checks that decide it: a point is ticked if none of them is wrong and at least one was made.
POINTS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("The public address answers: nginx with its certificate, or the tunnel", ("port.443", "tls.certificate")),
    ("The number's webhook is that address, over https://", ("twilio.number",)),
    ("BASE_URL in .env is that address", ("settings.address", "webhook.stranger")),
    ("The backend runs with these settings", ("backend.alive", "webhook.signed")),
    ("The media stream's endpoint is reachable, and only for Twilio", ("stream.forged", "stream.upgrade")),
    ("A session with the model can be opened", ("model.key", "model.exists", "backend.ready")),
    ("A test call goes through", ("call", "call.real")),
)


@dataclass(frozen=True, slots=True)
class Point:
    """One point of the checklist. ``ticked``: whether it holds; None if no check was made."""

    what: str
    ticked: bool | None
    found: str

    def as_line(self) -> str:
        """Return the point as ``[x] what: found``."""
        mark = {True: "x", False: " ", None: "?"}[self.ticked]
        return f"[{mark}] {self.what}: {self.found}"

    def as_json(self) -> dict[str, object]:
        """Return the point for machines."""
        return {"point": self.what, "ticked": self.ticked, "found": self.found}


def checklist(results: Sequence[Result]) -> list[Point]:
    """Return all points."""
    by_name = {result.name: result for result in results}
    return [_point(what, names, by_name) for what, names in POINTS]


def _point(what: str, names: Sequence[str], by_name: Mapping[str, Result]) -> Point:
    told = [by_name[name] for name in names if name in by_name]
    for result in told:
        if result.status is Status.WRONG:
            return Point(what, False, result.worst.found)
    for result in told:
        if result.cause is not None:
            cause = by_name[result.cause]
            return Point(what, False, f"not checked, because this is wrong: {cause.title}")
    seen = [result for result in told if result.status in (Status.OK, Status.WARNING)]
    if not seen:
        return Point(what, None, told[0].worst.found if told else "not tried: run callgate doctor --call")
    return Point(what, True, seen[-1].worst.found)
