"""The events of the OpenAI Realtime API (GA), as objects. Pure: no I/O, no clock.

Source: https://platform.openai.com/docs/api-reference/realtime, and the types of the ``openai`` package, against which
the tests check every event sent from here. Azure and the line check speak the same protocol.

Only events that a call acts on have a class of their own; every other server event becomes `Other` and is ignored, as
new ones may appear at any time. `realtime_errors` has the errors, which can be imported from here too. `realtime_json`
reads and writes all events, `realtime_fast` the frequent ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from callgate.core.foreign import described
from callgate.core.tools.toolbox import RemoteTools, Tool

from .realtime_errors import ALREADY_RESPONDING as ALREADY_RESPONDING
from .realtime_errors import SESSION_EXPIRED as SESSION_EXPIRED
from .realtime_errors import CallerTranscriptFailed as CallerTranscriptFailed
from .realtime_errors import ErrorEvent as ErrorEvent
from .retry_after import in_words
from .turn_detection import DEFAULT, SemanticVad, ServerVad

# Client events: what we send.


@dataclass(frozen=True, slots=True)
class UpdateSession:
    """``session.update``: what the agent is, and that audio is µ-law both ways.

    ``transcription``: the model that transcribes the caller's speech, in ``language`` (ISO 639-1) if that is known;
    None: no transcription. ``noise_reduction``: near_field or far_field; None: none.
    """

    instructions: str
    voice: str
    tools: tuple[Tool | RemoteTools, ...] = ()
    transcription: str | None = None
    language: str | None = None
    turn_detection: ServerVad | SemanticVad = DEFAULT
    noise_reduction: str | None = None


@dataclass(frozen=True, slots=True)
class AskAlive:
    """``session.update`` that changes nothing: a live server answers it with ``session.updated`` at once."""


@dataclass(frozen=True, slots=True)
class AppendAudio:
    """``input_audio_buffer.append``: the caller's audio, base64 µ-law."""

    audio: str


@dataclass(frozen=True, slots=True)
class CreateResponse:
    """``response.create``: speak now; with ``instructions``, for this one response only. ``event_id``: what an
    `ErrorEvent` calls this request by, if the server refuses it."""

    instructions: str | None = None
    event_id: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """``conversation.item.truncate``: the caller heard ``audio_end_ms`` of this item's content part, and no more."""

    item_id: str
    audio_end_ms: int
    content_index: int = 0


@dataclass(frozen=True, slots=True)
class AddUserText:
    """``conversation.item.create``: a text in the user's role that was not spoken."""

    text: str


@dataclass(frozen=True, slots=True)
class AddAgentText:
    """``conversation.item.create``: something that the agent said before, in another session."""

    text: str


@dataclass(frozen=True, slots=True)
class AddFunctionOutput:
    """``conversation.item.create``: the result of a function that the model called (JSON text)."""

    call_id: str
    output: str


ClientEvent = (
    UpdateSession
    | AskAlive
    | AppendAudio
    | CreateResponse
    | TruncateItem
    | AddUserText
    | AddAgentText
    | AddFunctionOutput
)


# Server events: those that a call acts on. An id is "" and a content index is 0 if the server did not tell it.


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The server is ready to receive the session's configuration."""


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """The session as the server understood it: the types of its input and output audio formats."""

    input_format: str | None
    output_format: str | None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak; the server cancels a response in progress."""


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller stopped speaking; the server answers by itself."""


@dataclass(frozen=True, slots=True)
class SpeechCommitted:
    """The caller's words are an item of the conversation now."""

    item_id: str


@dataclass(frozen=True, slots=True)
class CallerTranscript:
    """The text of what the caller said; it arrives late, or never."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class AgentTranscript:
    """The agent's text: the next piece of it, or the whole text if ``complete``."""

    item_id: str
    text: str
    complete: bool = False
    content_index: int = 0
    response_id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ResponseCreated:
    response_id: str


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """A piece of the agent's speech, base64 µ-law; it arrives much faster than it is played."""

    response_id: str
    item_id: str
    delta: str
    content_index: int = 0


@dataclass(frozen=True, slots=True)
class AudioDone:
    """All audio of an item's content part has been sent, though not necessarily heard."""

    response_id: str
    item_id: str
    content_index: int = 0


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The model calls a function. ``arguments``: JSON text, as the model wrote it."""

    call_id: str
    name: str
    arguments: str
    response_id: str = ""


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """A response ended. ``status``: completed, cancelled, incomplete or failed; the error fields say why.

    ``usage``: the tokens it used, as the API reports them. ``error_message`` may quote what was said; use `why` for the
    log. ``unfinished_call``: it ended in the middle of calling a function, which is not called.
    """

    response_id: str
    status: str
    reason: str | None = None
    error_code: str | None = None
    error_message: str | None = field(default=None, repr=False)
    usage: Mapping[str, Any] | None = None
    error_type: str | None = field(default=None, compare=False)
    unfinished_call: bool = False

    @property
    def why(self) -> str:
        """The error without its message."""
        return described(self.error_code, self.error_type, None, self.error_message)

    @property
    def retry_after(self) -> float | None:
        """How many seconds the server asks to wait before the next response; None: it does not say."""
        return in_words(self.error_message)


@dataclass(frozen=True, slots=True)
class RemoteToolsMissing:
    """A remote MCP server did not list its tools, so the model has none of them. ``item_id``: of the list."""

    item_id: str


@dataclass(frozen=True, slots=True)
class RemoteCallBegan:
    """The API itself calls a tool of a remote MCP server. The response that asked for it ends meanwhile."""

    item_id: str


@dataclass(frozen=True, slots=True)
class RemoteCallEnded:
    """The model has the result of that call, or knows that it ``failed``, and answers it in the next response
    requested."""

    item_id: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Other:
    """An event that calls don't act on."""

    type: str


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | SpeechStarted
    | SpeechStopped
    | SpeechCommitted
    | CallerTranscript
    | CallerTranscriptFailed
    | AgentTranscript
    | ResponseCreated
    | AudioDelta
    | AudioDone
    | FunctionCall
    | ResponseDone
    | ErrorEvent
    | RemoteToolsMissing
    | RemoteCallBegan
    | RemoteCallEnded
    | Other
)
