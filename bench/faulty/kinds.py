"""The ways in which a model may fail, or only seem to. Pure.

A kind strikes at an event, at a response, or for a whole session, so not every kind makes sense at every point. Its
family is its name up to the first hyphen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from callgate.core.units import SECONDS
from callgate.peers.linecheck.realtime.response import ScriptedResponse, ScriptedToolCall
from support.fake_openai import (
    Action,
    At,
    Away,
    Behind,
    Close,
    Event,
    Habits,
    Hang,
    Message,
    Reset,
    Send,
    Slow,
    empty,
    error_event,
    failed,
    incomplete,
    limited,
    muted,
    unspoken,
)

from .odd import ODD
from .points import Point

# The actions at an event, in order; nothing more follows a hang.
AT_EVENTS: Final[dict[str, tuple[Action, ...]]] = {
    "close": (Close(1011, "internal error"),),
    "reset": (Reset(),),
    "hang": (Hang(),),
    "garbage": (Send("}{"),),
    "error": (Send(error_event("server_error")),),  # the session survives it
    "odd": (),  # see `odd`: another message at each point
    "reordered": (Behind(),),  # adjacent events are swapped
    "expired": (Send(error_event("session_expired")), Close(1001, "Your session hit the maximum duration.")),
    "quota": (Send(error_event("insufficient_quota")), Hang()),  # a retry would not help
}
TRY_AGAIN: Final = 1.5 * SECONDS  # as the server tells it

# What the model gives instead of a response, before it gives the right one.
AT_RESPONSES: Final[dict[str, tuple[ScriptedResponse, ...]]] = {
    "empty": (empty(),),
    "empty-filtered": (incomplete(),),
    "empty-cut": (incomplete(ScriptedToolCall("find_parcel", '{"number": "7"}'), reason="max_output_tokens"),),
    "empty-cancelled": (unspoken(),),
    "empty-muted": (muted(),),
    "limited": (limited(TRY_AGAIN),),
    "limited-twice": (limited(TRY_AGAIN), limited(TRY_AGAIN)),
    "limited-error": (failed(),),
    "limited-errors": (failed(), failed()),
}
# How late every event is: in all sessions from the opening on, or in the first one from a response on.
SLOW: Final = {f"slow-{late:g}": late for late in (0.7 * SECONDS, 1.5 * SECONDS, 3 * SECONDS)}

KINDS: Final = (*AT_EVENTS, *AT_RESPONSES, *SLOW)
USUAL_KINDS: Final = ("close", "reset", "hang", "garbage", "error")
ALL_KINDS: Final = tuple(kind for kind in KINDS if kind not in ("expired", "quota"))
FATAL: Final = frozenset({"quota"})
# Kinds after which nothing more is expected of the session in which they strike.
DEADLY: Final = frozenset({"close", "reset", "hang", "garbage", "expired", "quota"})

_USUAL: Final = Habits()

OPENING: Final = Point(0, "session.created", 1)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong in one call. ``at``: in its first session. ``habits``: of all sessions. ``instead``: what the
    model gives first instead of its response in the point's turn. ``late``: how late each event is, in seconds.
    ``waits``: how long the model says that the caller has to wait."""

    at: tuple[At, ...] = ()
    habits: Habits = _USUAL
    instead: tuple[ScriptedResponse, ...] = ()
    late: float = 0.0
    waits: float = 0.0


def family(kind: str) -> str:
    """Return the kind without its variant."""
    return kind.partition("-")[0]


def families(kinds: Iterable[str]) -> list[str]:
    """Return the families of these kinds, in order."""
    return list(dict.fromkeys(map(family, kinds)))


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """Return the kinds that are meant by these names of kinds and families. Raises `KeyError` for an unknown one."""
    found: dict[str, None] = {}
    for name in names:
        meant = [kind for kind in KINDS if name in (kind, family(kind))]
        if not meant:
            raise KeyError(name)
        found |= dict.fromkeys(meant)
    return tuple(found)


def strikes(kind: str, point: Point) -> bool:
    """Whether this kind makes sense at this point."""
    if kind in AT_EVENTS:
        return True
    return point.is_response or (kind in SLOW and point == OPENING)


def trouble(kind: str, point: Point, points: Sequence[Point]) -> Trouble:
    """Return what goes wrong. ``points``: all points, among which the odd messages are divided."""
    if kind in AT_RESPONSES:
        instead = AT_RESPONSES[kind]
        return Trouble(instead=instead, waits=TRY_AGAIN * sum(_is_limited(each) for each in instead))
    if kind in SLOW:
        late = SLOW[kind]
        if point == OPENING:
            return Trouble(habits=Habits(Away(sent=late)), late=late)
        return Trouble(at=(point.at(Slow(late)),), late=late)
    actions = (Send(odd_at(point, points)[1]),) if kind == "odd" else AT_EVENTS[kind]
    return Trouble(at=tuple(point.at(action) for action in actions))


def odd_at(point: Point, points: Sequence[Point]) -> tuple[str, Message | Callable[[Event], Message]]:
    """Return the odd message for a point, with its name."""
    messages = list(ODD.items())
    return messages[points.index(point) % len(messages) if point in points else 0]


def _is_limited(response: ScriptedResponse) -> bool:
    return (response.error or {}).get("code") == "rate_limit_exceeded"
