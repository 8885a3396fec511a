"""What goes wrong, and where: faults that strike at a server event."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from .seen import Event

Message: TypeAlias = str | bytes | Event


@dataclass(frozen=True, slots=True)
class Send:
    """First send a message, or what a function makes of the event: text and binary messages as they are, an event as
    JSON. It is not checked."""

    message: Message | Callable[[Event], Message]


@dataclass(frozen=True, slots=True)
class Change:
    """Send what ``change`` makes of the event."""

    change: Callable[[Event], Event]


@dataclass(frozen=True, slots=True)
class Delay:
    """Send nothing for a number of seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Slow:
    """From now on, each event sent, and each received, is late by so many seconds."""

    sent: float
    received: float = 0.0


@dataclass(frozen=True, slots=True)
class Behind:
    """Send the event behind the next one of this type, which is the very next one if ``event`` is ``"*"``. If that does
    not come ``within`` so many seconds, send it alone."""

    event: str = "*"
    within: float = 0.1


@dataclass(frozen=True, slots=True)
class Drop:
    """Leave the event out."""


@dataclass(frozen=True, slots=True)
class Hang:
    """Send nothing more. The socket stays open and is still read."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the WebSocket instead of sending the event."""

    code: int = 1000
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the TCP connection instead of sending the event."""


Action: TypeAlias = Send | Change | Delay | Slow | Behind | Drop | Hang | Close | Reset


@dataclass(frozen=True, slots=True)
class At:
    """Where a fault strikes: at the ``nth`` server event of a type, or of any type if ``event`` is ``"*"``.

    With ``nth`` 0, it strikes at each of them. With ``turn``, it strikes only from that turn's ``response.created`` up
    to the next one, and ``nth`` counts the turn's events; turn 0 is before the first ``response.created``. Faults at
    the same event strike in the order given.
    """

    event: str
    do: Action
    nth: int = 1
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults of one connection."""

    refuse: int | None = None  # answer the upgrade with this HTTP status
    refuse_code: str | None = None  # the code in that answer's body; by default, one that fits the status
    hang_upgrade: bool = False  # never answer the upgrade
    mute: bool = False  # accept and read, but never send anything
    at: Sequence[At] = ()
    late_deltas: int = 0  # audio deltas still sent after a cancelled response is done
    read_interval: float = 0.0  # seconds between reading two messages, with small buffers


class Count:
    """The events of one session so far, by which faults are found."""

    def __init__(self) -> None:
        self._turn = 0  # number of responses created
        self._of_session: dict[str, int] = {}  # by type, and in total ("*")
        self._of_turn: dict[str, int] = {}  # the same, since the last response was created

    def add(self, type: str) -> None:
        """Count an event."""
        if type == "response.created":
            self._turn += 1
            self._of_turn.clear()
        for counts in (self._of_session, self._of_turn):
            for key in (type, "*"):
                counts[key] = counts.get(key, 0) + 1

    def meets(self, fault: At, type: str) -> bool:
        """Whether the event counted last, of this type, is where the fault strikes."""
        if fault.event not in (type, "*") or fault.turn not in (None, self._turn):
            return False
        counts = self._of_session if fault.turn is None else self._of_turn
        return fault.nth in (0, counts[fault.event])


# Faults that several tests need.

MESSAGES = {
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
    "rate_limit_exceeded": "Rate limit reached. Please try again later.",
    "session_expired": "Your session hit the maximum duration of 60 minutes.",
    "server_error": "The server had an error while processing your request.",
}


def error_event(code: str, message: str = "", *, type: str | None = None) -> Event:
    """Return an ``error`` event that no client event caused: insufficient_quota, rate_limit_exceeded,
    session_expired, ..."""
    kind = type or ("invalid_request_error" if code == "session_expired" else code)
    error = {"type": kind, "code": code, "message": message or MESSAGES.get(code, code), "param": None}
    return {"type": "error", "event_id": f"event_{code}", "error": {**error, "event_id": None}}


def session_expires(at: str, nth: int = 1) -> tuple[At, At]:
    """Return the end of a session's hour at this event: an error, then close 1001."""
    return At(at, Send(error_event("session_expired")), nth), At(at, Close(1001, MESSAGES["session_expired"]), nth)


def wrong_format() -> At:
    """Make every ``session.updated`` echo 24 kHz PCM, whatever was requested."""

    def change(event: Event) -> Event:
        pcm = {"type": "audio/pcm", "rate": 24_000}
        audio = event["session"]["audio"]
        sides = {side: {**settings, "format": pcm} for side, settings in audio.items()}
        return {**event, "session": {**event["session"], "audio": sides}}

    return At("session.updated", Change(change), nth=0)
