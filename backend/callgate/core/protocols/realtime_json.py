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

from .lenient import error_of, id_of, index_of, object_of, text_of
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
    CallerTranscriptFailed,
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
from .realtime_errors import UNKNOWN
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
            asked: dict[str, Any] = {"type": "response.create"}
            if event.event_id is not None:
                asked["event_id"] = event.event_id
            if event.instructions is not None:
                asked["response"] = {"instructions": event.instructions}
            return asked
        case TruncateItem():
            return {
                "type": "conversation.item.truncate",
                "item_id": event.item_id,
                "content_index": event.content_index,
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
    """Parse a frame from the server. Fields that are missing, or of another type than documented, are done without
    where that is possible. Raises `RealtimeError` where it is not."""
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
    except RecursionError as exc:
        raise RealtimeError(
            f"the model sent a {name_or_length(event['type'])} event that is nested too deeply"
        ) from exc


def _from_dict(event: Mapping[str, Any]) -> ServerEvent:
    match event["type"]:
        case "response.output_audio.delta":
            part = index_of(event, "content_index")
            return AudioDelta(id_of(event, "response_id"), id_of(event, "item_id"), _text(event, "delta"), part)
        case "response.output_audio.done":
            part = index_of(event, "content_index")
            return AudioDone(id_of(event, "response_id"), id_of(event, "item_id"), part)
        case "input_audio_buffer.speech_started":
            return SpeechStarted()
        case "input_audio_buffer.speech_stopped":
            return SpeechStopped()
        case "input_audio_buffer.committed":
            return SpeechCommitted(id_of(event, "item_id"))
        case "conversation.item.input_audio_transcription.completed":
            return CallerTranscript(_needed_id(event, "item_id"), _text(event, "transcript"))
        case "conversation.item.input_audio_transcription.failed":
            return CallerTranscriptFailed(id_of(event, "item_id"), *_reported(error_of(event, "error")))
        case "response.output_audio_transcript.delta":
            part = index_of(event, "content_index")
            response_id = id_of(event, "response_id")
            return AgentTranscript(_needed_id(event, "item_id"), _text(event, "delta"), False, part, response_id)
        case "response.output_audio_transcript.done":
            part = index_of(event, "content_index")
            response_id = id_of(event, "response_id")
            return AgentTranscript(_needed_id(event, "item_id"), _text(event, "transcript"), True, part, response_id)
        case "response.created":
            return ResponseCreated(id_of(object_of(event, "response"), "id"))
        case "response.output_item.done" if _is_call(item := object_of(event, "item")) and not _is_cut_off(item):
            return FunctionCall(
                _needed_id(item, "call_id"), id_of(item, "name"), _arguments(item), id_of(event, "response_id")
            )
        case "response.done":
            return _response_done(object_of(event, "response"))
        case "session.created":
            return SessionCreated()
        case "session.updated":
            audio = object_of(object_of(event, "session"), "audio")
            return SessionUpdated(_format(audio, "input"), _format(audio, "output"))
        case "error":
            error = error_of(event, "error")
            return ErrorEvent(*_reported(error), text_of(error, "event_id"))
        case "mcp_list_tools.failed":
            return RemoteToolsMissing(id_of(event, "item_id"))
        case "response.mcp_call.in_progress":
            return RemoteCallBegan(id_of(event, "item_id"))
        case "response.mcp_call.completed" | "response.mcp_call.failed" as kind:
            return RemoteCallEnded(id_of(event, "item_id"), failed=kind == "response.mcp_call.failed")
    return Other(event["type"])


def _is_call(item: object) -> bool:
    return isinstance(item, dict) and item.get("type") == "function_call"


def _is_cut_off(item: Mapping[str, Any]) -> bool:
    """Whether an item is known to be unfinished: it was cut off together with its response."""
    status = item.get("status")
    return isinstance(status, str) and status != "completed"


def _arguments(item: Mapping[str, Any]) -> str:
    """Return a function's arguments as JSON text. In place of the text there may be the object itself."""
    arguments = item.get("arguments")
    return (
        json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, dict) else text_of(item, "arguments") or ""
    )


def _response_done(response: Mapping[str, Any]) -> ResponseDone:
    details = object_of(response, "status_details")
    error = error_of(details, "error") if details else error_of(response, "status_details")
    kind = text_of(error, "type")
    usage, output = response.get("usage"), response.get("output")
    items = output if isinstance(output, list) else []
    return ResponseDone(
        id_of(response, "id"),
        text_of(response, "status") or text_of(details, "type") or ("failed" if error else "completed"),
        text_of(details, "reason"),
        text_of(error, "code") or kind,
        text_of(error, "message"),
        usage if isinstance(usage, dict) else None,
        kind,
        any(_is_call(item) and _is_cut_off(item) for item in items),
    )


def _reported(error: Mapping[str, Any]) -> tuple[str, str, str | None, str | None]:
    """Return an error's code, message, type and parameter."""
    kind = text_of(error, "type")
    code = text_of(error, "code") or kind or UNKNOWN
    return code, text_of(error, "message") or "", kind, text_of(error, "param")


def _format(audio: Mapping[str, Any], direction: str) -> str | None:
    kind = object_of(object_of(audio, direction), "format").get("type")
    return kind if isinstance(kind, str) else None


def _text(event: Mapping[str, Any], key: str) -> str:
    """Return a text that the event is of no use without."""
    value = event.get(key)
    if not isinstance(value, str):
        raise _lacks(event, key)
    return value


def _needed_id(event: Mapping[str, Any], key: str) -> str:
    if not (value := id_of(event, key)):
        raise _lacks(event, key)
    return value


def _lacks(event: Mapping[str, Any], key: str) -> RealtimeError:
    return RealtimeError(f"the model sent a {name_or_length(event.get('type'))} event that lacks its {key}")
