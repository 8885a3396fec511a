"""Reads the client events of a GA Realtime session over a WebSocket, from JSON text to a checked event. Pure.

Source: `RealtimeClientEvent` in OpenAI's SDK (``openai.types.realtime``), without ``output_audio_buffer.clear``, which
is for WebRTC and SIP only.
"""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from .items import ITEM_CREATE
from .schema import EventRefused, anything, base64_audio, by, fields, nullable, number, string
from .session import RESPONSE_CREATE

Event: TypeAlias = dict[str, Any]

_ENVELOPE = {"type": string, "event_id": string}

_CLIENT_EVENT = by(
    "type",
    {
        "session.update": fields({"session": anything}, **_ENVELOPE),
        "input_audio_buffer.append": fields({"audio": base64_audio}, **_ENVELOPE),
        "input_audio_buffer.commit": fields(**_ENVELOPE),
        "input_audio_buffer.clear": fields(**_ENVELOPE),
        "conversation.item.create": ITEM_CREATE,
        "conversation.item.retrieve": fields({"item_id": string}, **_ENVELOPE),
        "conversation.item.truncate": fields(
            {"item_id": string, "content_index": number(0, 2**31), "audio_end_ms": number(0, 2**31)}, **_ENVELOPE
        ),
        "conversation.item.delete": fields({"item_id": string}, **_ENVELOPE),
        "response.create": fields(response=nullable(RESPONSE_CREATE), **_ENVELOPE),
        "response.cancel": fields(response_id=nullable(string), **_ENVELOPE),
    },
)


def decode(frame: str | bytes) -> Event:
    """Return the JSON object in a WebSocket message. Raises `EventRefused`."""
    if isinstance(frame, bytes):
        raise EventRefused("invalid_event", f"Expected a text message, but got a binary one of {len(frame)} bytes.")
    try:
        event = json.loads(frame)
    except (ValueError, RecursionError) as exc:
        raise EventRefused("invalid_json", "Could not parse the message as JSON: expected one JSON object.") from exc
    if not isinstance(event, dict):
        raise EventRefused("invalid_type", "Invalid message: expected a JSON object.")
    return event


def check(event: Event) -> Event:
    """Return the event with its values checked and its audio decoded to bytes. Raises `EventRefused`."""
    checked: Event = _CLIENT_EVENT("", event)
    return checked
