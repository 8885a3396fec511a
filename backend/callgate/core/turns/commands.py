"""The commands that a conversation gives, and the ways in which it ends. Pure.

The sequence of events in a usual call:

    (start)            -> OpenModel                                            OPENING
    model_ready        -> AdoptModel, response.create (the greeting), the audio kept so far   TALKING
    media              -> input_audio_buffer.append
    audio deltas       -> media, and a mark about every 500 ms
    speech_started     -> clear, conversation.item.truncate at what was heard
    a function call    -> CallTool; tool_done: its output; once all are done: response.create
    hang_up called     -> nothing more; when the last mark has come back: End  LEAVING
    stop               -> End                                                  ENDED
"""

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
    """How a call ended, which decides what the caller gets next."""

    CALLER_HUNG_UP = "the caller hung up"
    GOODBYE = "the agent hung up"
    TRANSFERRED = "the call is put through"
    SENDING_DIGITS = "keys are sent into the line"
    FAILED = "the call failed"
    STREAM_LOST = "the media stream was lost"
    SHUT_DOWN = "the service is stopping"


@dataclass(frozen=True, slots=True)
class PutThrough:
    """Dial somebody else for the caller. ``announced``: the agent has told the caller."""

    transfer: Transfer
    announced: bool = True


@dataclass(frozen=True, slots=True)
class SendDigits:
    """Play the tones of these keys into the line, and return to the call. ``w`` and ``W`` are pauses of 0.5 and 1 s."""

    digits: str = field(repr=False)


NextStep = PutThrough | SendDigits


@dataclass(frozen=True, slots=True)
class End:
    """Close both sockets. ``reason``: one line for the log. ``then``: what Twilio is to do next, in addition to what
    the outcome implies."""

    outcome: Outcome
    reason: str
    then: NextStep | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the operator should be able to read in the log. ``level``: as in `logging`."""

    level: int
    text: str


@dataclass(frozen=True, slots=True)
class OpenModel:
    """Open a model session after this many seconds and tell it what was said; then call `model_ready` or
    `model_unavailable`. ``beside``: another session serves the call, whose server is to be tried last."""

    after: float
    history: tuple[Turn, ...]
    beside: bool = False


@dataclass(frozen=True, slots=True)
class AdoptModel:
    """From now on the session that is ready, or was primed, serves the call; close the one before it, if any."""


@dataclass(frozen=True, slots=True)
class PrimeModel:
    """Send these events to the session that is ready, and from now on the caller's audio, too. Call `rival_speaks` when
    it speaks or calls a tool, `rival_failed` when it is lost or its response fails or is refused; keep what it sends
    until it is adopted."""

    events: tuple[ClientEvent, ...]


@dataclass(frozen=True, slots=True)
class DropBeside:
    """The session beside the one that serves the call is of no use: close it, or give up opening it."""


@dataclass(frozen=True, slots=True)
class DropModel:
    """The call's session is of no more use: close it and send it nothing more. ``reason``: what it failed at, so that
    another server is tried first; "" if the server is not to blame."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """The current state of a turn, for the record."""

    turn: Turn


@dataclass(frozen=True, slots=True)
class CallTool:
    """Call a tool on the owner's server, and report the result with `tool_done`. ``call_id``: identifies the call in
    the result."""

    call_id: str
    tool: HttpTool
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class TakeMessage:
    """Store a message from the caller, and report with `tool_done` whether it was stored."""

    call_id: str
    message: Message


Command = (
    FromApp
    | ClientEvent
    | Note
    | OpenModel
    | AdoptModel
    | PrimeModel
    | DropBeside
    | DropModel
    | Said
    | CallTool
    | TakeMessage
    | End
)
