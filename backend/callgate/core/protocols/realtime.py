"""The OpenAI Realtime API (GA) from the client's side: values out, text in, and back. Pure: no I/O, no clock.

Source: https://platform.openai.com/docs/api-reference/realtime, and the types of the ``openai`` package, against which
the tests check every event sent from here. Azure and the line check speak the same protocol.

Only what a call acts on has a value of its own; every other server event becomes `Other` and is ignored, as new ones
come at any time. Audio is ``{"type": "audio/pcmu"}`` both ways (µ-law, 8,000 bytes a second, no ``rate`` key), in
base64, never decoded here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from callgate.core.foreign import described, name_or_length
from callgate.core.tools.toolbox import RemoteTools, Tool
from callgate.core.wire.media_stream import is_base64
from callgate.errors import RealtimeError

PCMU: Final = {"type": "audio/pcmu"}

# Races that are nobody's fault: what we asked had already happened, or is under way.
ALREADY_RESPONDING: Final = "conversation_already_has_active_response"
BENIGN_ERRORS: Final = frozenset({"response_cancel_not_active", ALREADY_RESPONDING})

# Another try can't help.
FATAL_ERRORS: Final = frozenset(
    {
        "insufficient_quota",
        "invalid_api_key",
        "account_deactivated",
        "billing_hard_limit_reached",
        "beta_api_shape_disabled",
        "model_not_found",
    }
)

SESSION_EXPIRED: Final = "session_expired"  # the 60-minute cap; the server closes with 1001 behind it


# Client events: what we send.


@dataclass(frozen=True, slots=True)
class ServerVad:
    """A turn ends after a silence. ``threshold``: 0 to 1; the others in milliseconds. None: as the API has it."""

    threshold: float | None = None
    prefix_padding_ms: int | None = None
    silence_duration_ms: int | None = None


@dataclass(frozen=True, slots=True)
class SemanticVad:
    """A turn ends when what was said sounds complete. ``eagerness``: low, medium, high or auto."""

    eagerness: str = "auto"


@dataclass(frozen=True, slots=True)
class UpdateSession:
    """``session.update``: what the agent is, and that audio is µ-law both ways.

    ``transcription``: the model that writes down what the caller says, in ``language`` (ISO 639-1) where that is known;
    None: nobody does. ``noise_reduction``: near_field or far_field; None: none.
    """

    instructions: str
    voice: str
    tools: tuple[Tool | RemoteTools, ...] = ()
    transcription: str | None = None
    language: str | None = None
    turn_detection: ServerVad | SemanticVad = ServerVad()
    noise_reduction: str | None = None


@dataclass(frozen=True, slots=True)
class AskAlive:
    """``session.update`` that changes nothing: a living server answers it with ``session.updated`` at once."""


@dataclass(frozen=True, slots=True)
class AppendAudio:
    """``input_audio_buffer.append``: the caller's audio, base64 µ-law."""

    audio: str


@dataclass(frozen=True, slots=True)
class CreateResponse:
    """``response.create``: speak now; with ``instructions``, for this one response only."""

    instructions: str | None = None


@dataclass(frozen=True, slots=True)
class TruncateItem:
    """``conversation.item.truncate``: the caller heard ``audio_end_ms`` of this item, and no more."""

    item_id: str
    audio_end_ms: int


@dataclass(frozen=True, slots=True)
class AddUserText:
    """``conversation.item.create``: something of the caller's that is not speech."""

    text: str


@dataclass(frozen=True, slots=True)
class AddAgentText:
    """``conversation.item.create``: something that the agent has said before, in another session."""

    text: str


@dataclass(frozen=True, slots=True)
class AddFunctionOutput:
    """``conversation.item.create``: what a function that the model asked for gave (JSON text)."""

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


# Server events: what a call acts on.


@dataclass(frozen=True, slots=True)
class SessionCreated:
    """The server is ready to be told what the session is."""


@dataclass(frozen=True, slots=True)
class SessionUpdated:
    """The session as the server understood it: the types of its input and output audio formats."""

    input_format: str | None
    output_format: str | None


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """The caller began to speak; a response under way is cancelled by the server."""


@dataclass(frozen=True, slots=True)
class SpeechStopped:
    """The caller stopped speaking; the server answers by itself."""


@dataclass(frozen=True, slots=True)
class SpeechCommitted:
    """The caller's words are an item of the conversation now."""

    item_id: str


@dataclass(frozen=True, slots=True)
class CallerTranscript:
    """What the caller said, in text; it comes late, or never."""

    item_id: str
    text: str


@dataclass(frozen=True, slots=True)
class AgentTranscript:
    """The agent's text: the next piece of it, or with ``complete`` all of it."""

    item_id: str
    text: str
    complete: bool = False


@dataclass(frozen=True, slots=True)
class ResponseCreated:
    response_id: str


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """A piece of the agent's speech, base64 µ-law; it comes much faster than it is spoken."""

    response_id: str
    item_id: str
    delta: str


@dataclass(frozen=True, slots=True)
class AudioDone:
    """All audio of an item has been sent (not: has been heard)."""

    response_id: str
    item_id: str


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The model asks for a function. ``arguments``: JSON text, as the model wrote it."""

    call_id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class ResponseDone:
    """A response ended. ``status``: completed, cancelled, incomplete or failed; the rest says why.

    ``usage``: the tokens that it cost, as the API writes them. ``error_message`` may quote what was said: `why` is for
    the log.
    """

    response_id: str
    status: str
    reason: str | None = None
    error_code: str | None = None
    error_message: str | None = field(default=None, repr=False)
    usage: Mapping[str, Any] | None = None
    error_type: str | None = field(default=None, compare=False)

    @property
    def why(self) -> str:
        """The error, without its words."""
        return described(self.error_code, self.error_type, None, self.error_message)


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """The server could not do something; most leave the session as it was. ``message`` may quote what was said: `why`
    is for the log."""

    code: str
    message: str = field(repr=False)
    type: str | None = field(default=None, compare=False)
    param: str | None = field(default=None, compare=False)

    @property
    def why(self) -> str:
        """The error, without its words."""
        return described(self.code, self.type, self.param, self.message)

    @property
    def benign(self) -> bool:
        """Whether it is a race that needs nothing done."""
        return self.code in BENIGN_ERRORS

    @property
    def ends_session(self) -> bool:
        """Whether nothing more will come of this session."""
        return self.code in FATAL_ERRORS or self.code == SESSION_EXPIRED


@dataclass(frozen=True, slots=True)
class RemoteToolsMissing:
    """A remote MCP server did not say which tools it has: the model has none of them. ``item_id``: of the list."""

    item_id: str


@dataclass(frozen=True, slots=True)
class RemoteCallBegan:
    """The API calls a tool of a remote MCP server, by itself. The response that asked for it ends meanwhile."""

    item_id: str


@dataclass(frozen=True, slots=True)
class RemoteCallEnded:
    """The model knows what that tool gave, or that it ``failed``, and answers it when it is asked for a response."""

    item_id: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Other:
    """An event that a call does not act on."""

    type: str


ServerEvent = (
    SessionCreated
    | SessionUpdated
    | SpeechStarted
    | SpeechStopped
    | SpeechCommitted
    | CallerTranscript
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


def append_frame(audio: bytes) -> bytes:
    """The frame that appends base64 µ-law audio: fifty a second for each call, so written by template."""
    return b'{"type":"input_audio_buffer.append","audio":"' + audio + b'"}'


def encode(event: ClientEvent) -> str:
    """The text frame of a client event."""
    return json.dumps(_to_dict(event), separators=(",", ":"))


def _to_dict(event: ClientEvent) -> dict[str, Any]:
    match event:
        case AppendAudio():
            return {"type": "input_audio_buffer.append", "audio": event.audio}
        case UpdateSession():
            return {"type": "session.update", "session": _session(event)}
        case AskAlive():
            return {"type": "session.update", "session": {"type": "realtime"}}
        case CreateResponse():
            if event.instructions is None:
                return {"type": "response.create"}
            return {"type": "response.create", "response": {"instructions": event.instructions}}
        case TruncateItem():
            return {
                "type": "conversation.item.truncate",
                "item_id": event.item_id,
                "content_index": 0,
                "audio_end_ms": event.audio_end_ms,
            }
        case AddUserText():
            return _message("user", "input_text", event.text)
        case AddAgentText():
            return _message("assistant", "output_text", event.text)
        case AddFunctionOutput():
            item = {"type": "function_call_output", "call_id": event.call_id, "output": event.output}
            return {"type": "conversation.item.create", "item": item}


def _message(role: str, kind: str, text: str) -> dict[str, Any]:
    content = [{"type": kind, "text": text}]
    return {"type": "conversation.item.create", "item": {"type": "message", "role": role, "content": content}}


def _session(event: UpdateSession) -> dict[str, Any]:
    return {
        "type": "realtime",
        "instructions": event.instructions,
        "output_modalities": ["audio"],
        "audio": {
            "input": {"format": PCMU, **_listening(event)},
            "output": {"format": PCMU, "voice": event.voice},
        },
        "tools": [_tool(tool) for tool in event.tools],
        "tool_choice": "auto",
    }


def _listening(event: UpdateSession) -> dict[str, Any]:
    """How the session listens."""
    listening: dict[str, Any] = {"turn_detection": _turn_detection(event.turn_detection)}
    if event.transcription:
        language = {"language": event.language} if event.language else {}
        listening["transcription"] = {"model": event.transcription, **language}
    if event.noise_reduction:
        listening["noise_reduction"] = {"type": event.noise_reduction}
    return listening


def _turn_detection(vad: ServerVad | SemanticVad) -> dict[str, Any]:
    if isinstance(vad, SemanticVad):
        kind: dict[str, Any] = {"type": "semantic_vad", "eagerness": vad.eagerness}
    else:
        given = {
            "threshold": vad.threshold,
            "prefix_padding_ms": vad.prefix_padding_ms,
            "silence_duration_ms": vad.silence_duration_ms,
        }
        kind = {"type": "server_vad", **{name: value for name, value in given.items() if value is not None}}
    return {**kind, "create_response": True, "interrupt_response": True}


def _tool(tool: Tool | RemoteTools) -> dict[str, Any]:
    if isinstance(tool, Tool):
        return {
            "type": "function",
            "name": tool.name,
            "description": tool.description,
            "parameters": dict(tool.parameters),
        }
    given = {
        "server_description": tool.description,
        "authorization": tool.authorization,
        "allowed_tools": list(tool.allowed_tools),
    }
    return {
        "type": "mcp",
        "server_label": tool.label,
        "server_url": tool.url,
        **{name: value for name, value in given.items() if value},
        "require_approval": "never",  # nobody could be asked in the middle of a call
    }


class DeltaCutter:
    """The audio of each ``response.output_audio.delta``, without parsing it, where it is as OpenAI writes it.

    Any other frame is left to `parse`, which says the same of what is cut here: an `AudioDelta` of this response and
    item, with this audio.
    """

    def __init__(self) -> None:
        self.response_id = ""  # of the delta that was cut last …
        self.item_id = ""
        self._id_end = 0  # … and where its event's id ended; 0: none was cut yet
        self._between = b""  # what stood between that and the audio: the next delta's is mostly the same

    def cut(self, frame: bytes) -> bytes | None:
        """The base64 audio; None where the frame is another."""
        begin = self._id_end + len(self._between)
        if not self._is_like_the_last(frame):
            if (head := _DELTA_HEAD(frame)) is None:
                return None
            self.response_id, self.item_id = head[2].decode(), head[3].decode()
            self._id_end, begin = head.end(1), head.end()
            self._between = frame[self._id_end : begin]
        audio = frame[begin:-2]
        return audio if frame[-2:] == b'"}' and is_base64(audio) else None

    def _is_like_the_last(self, frame: bytes) -> bool:
        end = self._id_end
        if not end or frame[end : end + len(self._between)] != self._between:
            return False
        begin = len(_DELTA_BEGIN)
        return frame[:begin] == _DELTA_BEGIN and _isalnum(frame[begin:end])


_DELTA_BEGIN: Final = b'{"type":"response.output_audio.delta","event_id":"event_'  # OpenAI's have this before letters
_isalnum: Final = bytes.isalnum  # of ASCII alone; where this is compiled, a look-up less
_DELTA_HEAD: Final = re.compile(
    rb'\{"type":"response\.output_audio\.delta","event_id":"([A-Za-z0-9_]+)","response_id":"([A-Za-z0-9_]+)",'
    rb'"item_id":"([A-Za-z0-9_]+)","output_index":[0-9]{1,9},"content_index":[0-9]{1,9},"delta":"'
).match


def parse(frame: str | bytes) -> ServerEvent:
    """Read one frame from the server. Raises `RealtimeError`."""
    if isinstance(frame, bytes):
        raise RealtimeError(f"the model sent a binary frame of {len(frame)} bytes where text is expected")
    try:
        event = json.loads(frame)
    except (ValueError, RecursionError) as exc:
        raise RealtimeError(f"the model sent a frame that is not JSON: {exc}") from exc
    if not isinstance(event, dict) or not isinstance(event.get("type"), str):
        raise RealtimeError("the model sent JSON that is not an event: it has no type")
    try:
        return _from_dict(event)
    except (KeyError, TypeError, AttributeError) as exc:
        kind = name_or_length(event["type"])
        raise RealtimeError(f"the model sent a {kind} event of another shape than documented") from exc


def _from_dict(event: Mapping[str, Any]) -> ServerEvent:
    match event["type"]:
        case "response.output_audio.delta":
            return AudioDelta(_text(event, "response_id"), _text(event, "item_id"), _text(event, "delta"))
        case "response.output_audio.done":
            return AudioDone(_text(event, "response_id"), _text(event, "item_id"))
        case "input_audio_buffer.speech_started":
            return SpeechStarted()
        case "input_audio_buffer.speech_stopped":
            return SpeechStopped()
        case "input_audio_buffer.committed":
            return SpeechCommitted(_text(event, "item_id"))
        case "conversation.item.input_audio_transcription.completed":
            return CallerTranscript(_text(event, "item_id"), _text(event, "transcript"))
        case "response.output_audio_transcript.delta":
            return AgentTranscript(_text(event, "item_id"), _text(event, "delta"))
        case "response.output_audio_transcript.done":
            return AgentTranscript(_text(event, "item_id"), _text(event, "transcript"), complete=True)
        case "response.created":
            return ResponseCreated(_text(event["response"], "id"))
        case "response.output_item.done" if _is_whole_call(event["item"]):
            item = event["item"]
            return FunctionCall(_text(item, "call_id"), _text(item, "name"), _text(item, "arguments"))
        case "response.done":
            return _response_done(event["response"])
        case "session.created":
            return SessionCreated()
        case "session.updated":
            audio = event["session"].get("audio") or {}
            return SessionUpdated(_format(audio.get("input")), _format(audio.get("output")))
        case "error":
            error = event["error"]
            kind = _text_of(error, "type")
            return ErrorEvent(
                _text_of(error, "code") or kind or "unknown",
                _text_of(error, "message") or "",
                kind,
                _text_of(error, "param"),
            )
        case "mcp_list_tools.failed":
            return RemoteToolsMissing(_text(event, "item_id"))
        case "response.mcp_call.in_progress":
            return RemoteCallBegan(_text(event, "item_id"))
        case "response.mcp_call.completed" | "response.mcp_call.failed" as kind:
            return RemoteCallEnded(_text(event, "item_id"), failed=kind == "response.mcp_call.failed")
    return Other(event["type"])


def _is_whole_call(item: Mapping[str, Any]) -> bool:
    """Whether an item is a function call, and was not cut off with its response."""
    return item.get("type") == "function_call" and item.get("status") != "incomplete"


def _response_done(response: Mapping[str, Any]) -> ResponseDone:
    details = response.get("status_details") or {}
    error = details.get("error") or {}
    return ResponseDone(
        _text(response, "id"),
        _text(response, "status"),
        _text_of(details, "reason"),
        _text_of(error, "code") or _text_of(error, "type"),
        _text_of(error, "message"),
        response.get("usage"),
        _text_of(error, "type"),
    )


def _format(direction: Mapping[str, Any] | None) -> str | None:
    kind = ((direction or {}).get("format") or {}).get("type")
    return kind if isinstance(kind, str) else None


def _text_of(error: Mapping[str, Any], key: str) -> str | None:
    """What an error says of itself, which may be anything."""
    value = error.get(key)
    return None if value is None else str(value)


def _text(event: Mapping[str, Any], key: str) -> str:
    value = event[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value
