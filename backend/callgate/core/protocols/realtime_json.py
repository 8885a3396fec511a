"""Events of the Realtime API as JSON: server events in, client events out. Pure: no I/O, no clock.

Audio is ``{"type": "audio/pcmu"}`` both ways (µ-law, 8,000 bytes a second, no ``rate`` key), in base64, and never
decoded here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from callgate.core.foreign import name_or_length
from callgate.core.tools.toolbox import RemoteTools, Tool
from callgate.errors import RealtimeError

from .realtime import (
    AddAgentText,
    AddFunctionOutput,
    AddUserText,
    AgentTranscript,
    AppendAudio,
    AskAlive,
    AudioDelta,
    AudioDone,
    CallerTranscript,
    ClientEvent,
    CreateResponse,
    ErrorEvent,
    FunctionCall,
    Other,
    RemoteCallBegan,
    RemoteCallEnded,
    RemoteToolsMissing,
    ResponseCreated,
    ResponseDone,
    ServerEvent,
    SessionCreated,
    SessionUpdated,
    SpeechCommitted,
    SpeechStarted,
    SpeechStopped,
    TruncateItem,
    UpdateSession,
)
from .turn_detection import SemanticVad, ServerVad

PCMU: Final = {"type": "audio/pcmu"}


def encode(event: ClientEvent) -> str:
    """Return the text frame of a client event."""
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
    """Return the input settings of the session."""
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
        "require_approval": "never",  # there is nobody to ask in the middle of a call
    }


def parse(frame: str | bytes) -> ServerEvent:
    """Parse a frame from the server. Raises `RealtimeError`."""
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
    """Whether an item is a function call, and complete rather than cut off with its response."""
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
    """Return a field of an error as text, whatever its type."""
    value = error.get(key)
    return None if value is None else str(value)


def _text(event: Mapping[str, Any], key: str) -> str:
    value = event[key]
    if not isinstance(value, str):
        raise TypeError(key)
    return value
