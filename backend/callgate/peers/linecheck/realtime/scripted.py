"""What a response says, and in which manner. Pure values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class Speech:
    """A spoken message. ``audio`` is µ-law, 8,000 bytes per second; without any, the message has only a transcript.

    ``content_index``: which part of the message the audio is. If it is not the first, the parts before it are text.
    """

    audio: bytes
    transcript: str
    content_index: int = 0


@dataclass(frozen=True, slots=True)
class ScriptedToolCall:
    """A call of one of the session's tools. ``arguments`` is a JSON object, as text. ``call_id``: None means a new
    one."""

    name: str
    arguments: str = "{}"
    call_id: str | None = None


Status: TypeAlias = Literal["completed", "cancelled", "incomplete", "failed"]


@dataclass(frozen=True, slots=True)
class ScriptedResponse:
    """What a response consists of, and how it ends if nobody interrupts it.

    ``reason`` goes with ``incomplete`` (``max_output_tokens``, ``content_filter``) and with ``cancelled``
    (``turn_detected``, ``client_cancelled``); ``error`` (``type``, ``code``, ``message``) goes with ``failed``. Unless
    the response is completed, its last output is cut off: half of a tool call's arguments are never written.
    ``interleaved``: the outputs are sent at the same time, a piece of each in turn.
    """

    outputs: tuple[Speech | ScriptedToolCall, ...] = ()
    status: Status = "completed"
    reason: str | None = None
    error: Mapping[str, str] | None = None
    interleaved: bool = False


@dataclass(frozen=True, slots=True)
class SpeechPace:
    """How audio is sent: ``delta_ms`` of audio per event, ``times`` as fast as real time."""

    delta_ms: int = 200
    times: float = 8.0


def at_once(number: int) -> float:
    """Take no time to think."""
    return 0.0


def always(number: int) -> bool:
    """Answer every utterance."""
    return True


@dataclass(frozen=True, slots=True)
class Manner:
    """How a model responds, whatever it says.

    ``created_after``: the seconds between the end of the caller's turn, or the client's request, and
    ``response.created``. ``speaks_after``: the seconds between that and the first output. Both are functions of the
    response's number in the session, from 0. ``answers``: whether the server creates a response by itself after the
    caller's utterance of this number, from 0, if the session's turn detection is to create one.
    """

    pace: SpeechPace = SpeechPace()
    created_after: Callable[[int], float] = at_once
    speaks_after: Callable[[int], float] = at_once
    answers: Callable[[int], bool] = always
