"""What a conversation commands, and how it ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from .media_stream import FromApp
from .realtime import ClientEvent
from .transcript import Turn


class Outcome(Enum):
    """How a call ended, which decides what the caller meets next."""

    CALLER_HUNG_UP = "the caller hung up"
    GOODBYE = "the agent hung up"
    FAILED = "the call failed"
    STREAM_LOST = "the media stream was lost"
    SHUT_DOWN = "the service is stopping"


@dataclass(frozen=True, slots=True)
class End:
    """Close both sockets. ``reason``: one line for the log."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Something the operator should be able to read. ``level``: as in `logging`."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class OpenModel:
    """Open a session of the model's after so many seconds, and tell it what was said; then call `model_ready`, or
    `model_unavailable`."""

    after: float
    history: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class AdoptModel:
    """From here on the session that is ready is the call's; close the one before."""


@dataclass(frozen=True, slots=True)
class DropModel:
    """The call's session is of no more use: close it, and send it nothing. ``reason``: what it failed at, so that
    another server is asked first; "" where it is not to blame."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """A turn is as it is now: for the record."""

    turn: Turn


Command = FromApp | ClientEvent | Note | OpenModel | AdoptModel | DropModel | Said | End
