"""What a conversation commands, and how it ends. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from callgate.core.protocols.realtime import ClientEvent
from callgate.core.tools.toolbox import HttpTool, Message, Transfer
from callgate.core.wire.media_stream import FromApp

from .transcript import Turn


class Outcome(Enum):
    """How a call ended, which decides what the caller meets next."""

    CALLER_HUNG_UP = "the caller hung up"
    GOODBYE = "the agent hung up"
    TRANSFERRED = "the call is put through"
    SENDING_DIGITS = "keys are sent into the line"
    FAILED = "the call failed"
    STREAM_LOST = "the media stream was lost"
    SHUT_DOWN = "the service is stopping"


@dataclass(frozen=True, slots=True)
class PutThrough:
    """Ring somebody else for the caller. ``announced``: the agent has told them so."""

    transfer: Transfer
    announced: bool = True


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Play the tones of these keys into the line, and come back. ``w`` and ``W`` are pauses of 0.5 and 1 s."""

    digits: str = field(repr=False)


NextStep = PutThrough | SendDigits


@dataclass(frozen=True, slots=True)
class End:
    """Close both sockets. ``reason``: one line for the log. ``then``: what Twilio is to do next, beside what the
    outcome says."""

    outcome: Outcome
    reason: str
    then: NextStep | None = None


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


@dataclass(frozen=True, slots=True)
class CallTool:
    """Ask the owner's server, and tell what it gave with `tool_done`. ``call_id``: what the answer is known by."""

    call_id: str
    tool: HttpTool
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TakeMessage:
    """Keep a message of the caller's, and tell whether it could be kept with `tool_done`."""

    call_id: str
    message: Message


Command = FromApp | ClientEvent | Note | OpenModel | AdoptModel | DropModel | Said | CallTool | TakeMessage | End
