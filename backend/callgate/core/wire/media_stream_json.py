"""Twilio Media Streams messages as JSON: text in, objects out, and back. Pure: no I/O, no clock.

Both ends of the socket use this module: the relay reads with `parse_from_twilio` and writes with `encode_to_twilio`;
the simulated Twilio (`callgate.peers.phone`) reads with `parse_from_app` and writes with `encode_to_app`.
``sequenceNumber``, ``media.chunk`` and ``media.timestamp`` are strings on the wire. The relay reads what it can of an
odd message, and nothing depends on those numbers; the simulated Twilio is as strict as Twilio.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from callgate.core.foreign import left_out, name_or_length
from callgate.errors import MediaStreamError

from .media_stream import (
    FROM_TWILIO_LIMIT,
    INVALID_MESSAGE,
    SAMPLE_RATE,
    SID_LIMIT,
    UNDECODABLE,
    Clear,
    Connected,
    Dtmf,
    FromApp,
    FromTwilio,
    Mark,
    Media,
    Start,
    Stop,
    Unknown,
    payload_bytes,
)


def parse_from_twilio(frame: str | bytes) -> FromTwilio:
    """Parse a frame from Twilio, as the app receives it. Raises `MediaStreamError`."""
    if len(frame) > FROM_TWILIO_LIMIT:
        raise MediaStreamError(INVALID_MESSAGE, f"message of {len(frame)} bytes where Twilio's have a few hundred")
    message = _load(frame)
    event = _string(message, "event")
    sequence = _number(message, "sequenceNumber")
    match event:
        case "media":
            body = _object(message, "media")
            payload = _string(body, "payload", "media.")
            payload_bytes(payload)
            return Media(
                _string(message, "streamSid"),
                payload,
                _string_or(body, "track", "inbound"),
                _number(body, "chunk"),
                _number(body, "timestamp"),
                sequence,
            )
        case "mark":
            return Mark(_string(message, "streamSid"), _string(_object(message, "mark"), "name", "mark."), sequence)
        case "dtmf":
            return Dtmf(_string(message, "streamSid"), _key(_object(message, "dtmf")), sequence)
        case "start":
            return _parse_start(message, sequence)
        case "stop":
            stop = message.get("stop")
            body = stop if isinstance(stop, dict) else {}
            sids = _string_or(body, "accountSid", ""), _string_or(body, "callSid", "")
            return Stop(_string(message, "streamSid"), *sids, sequence)
        case "connected":
            usual = Connected()
            protocol, version = usual.protocol, usual.version
            return Connected(_string_or(message, "protocol", protocol), _string_or(message, "version", version))
    return Unknown(event)


def event_of(frame: str | bytes) -> str:
    """Return the name of the event that a frame is, even if it can't be read otherwise; "" if there is none."""
    try:
        return _string(_load(frame), "event")
    except MediaStreamError:
        return ""


def _parse_start(message: Mapping[str, Any], sequence: int) -> Start:
    body = _object(message, "start")
    form = _object(body, "mediaFormat")
    given, tracks = body.get("customParameters"), body.get("tracks")
    parameters = given if isinstance(given, dict) else {}
    start = Start(
        stream_sid=_sid(body, "streamSid"),
        account_sid=_sid(body, "accountSid"),
        call_sid=_sid(body, "callSid"),
        custom_parameters=MappingProxyType(
            {name: value for name, value in parameters.items() if isinstance(value, str)}
        ),
        tracks=tuple(track for track in tracks if isinstance(track, str)) if isinstance(tracks, list) else (),
        encoding=_string(form, "encoding", "start.mediaFormat."),
        sample_rate=_number(form, "sampleRate"),
        channels=_number(form, "channels"),
        sequence_number=sequence,
    )
    if (start.encoding, start.sample_rate, start.channels) != ("audio/x-mulaw", SAMPLE_RATE, 1):
        raise MediaStreamError(
            INVALID_MESSAGE,
            f"start.mediaFormat is {name_or_length(start.encoding, '/')} {start.sample_rate} Hz × {start.channels}, "
            f"not audio/x-mulaw {SAMPLE_RATE} Hz × 1",
        )
    return start


def parse_from_app(frame: str | bytes, stream_sid: str) -> FromApp:
    """Parse a frame from an app, as Twilio receives it. Raises `MediaStreamError` with Twilio's code."""
    message = _load(frame)
    event = _string(message, "event")
    if _string(message, "streamSid") != stream_sid:
        raise MediaStreamError(INVALID_MESSAGE, f"{event} is for another streamSid than this stream's")
    match event:
        case "media":
            payload = _string(_object(message, "media"), "payload", "media.")
            payload_bytes(payload)
            return Media(stream_sid, payload)
        case "mark":
            return Mark(stream_sid, _string(_object(message, "mark"), "name", "mark."))
        case "clear":
            return Clear(stream_sid)
    kind = name_or_length(event)
    raise MediaStreamError(INVALID_MESSAGE, f"{kind} is not an event an app may send (media, mark, clear)")


def encode_to_twilio(message: FromApp) -> str:
    """Return the text frame of a message that an app sends."""
    match message:
        case Media():
            body: dict[str, Any] = {"media": {"payload": message.payload}}
        case Mark():
            body = {"mark": {"name": message.name}}
        case Clear():
            body = {}
    return _dump({"event": type(message).__name__.lower(), "streamSid": message.stream_sid, **body})


def encode_to_app(message: FromTwilio) -> str:
    """Return the text frame of a message that Twilio sends."""
    match message:
        case Connected():
            return _dump({"event": "connected", "protocol": message.protocol, "version": message.version})
        case Start():
            body: dict[str, Any] = {
                "start": {
                    "accountSid": message.account_sid,
                    "streamSid": message.stream_sid,
                    "callSid": message.call_sid,
                    "tracks": list(message.tracks),
                    "mediaFormat": {
                        "encoding": message.encoding,
                        "sampleRate": message.sample_rate,
                        "channels": message.channels,
                    },
                    "customParameters": dict(message.custom_parameters),
                }
            }
        case Media():
            body = {
                "media": {
                    "track": message.track,
                    "chunk": str(message.chunk),
                    "timestamp": str(message.timestamp),
                    "payload": message.payload,
                }
            }
        case Dtmf():
            body = {"dtmf": {"track": "inbound_track", "digit": message.digit}}
        case Mark():
            body = {"mark": {"name": message.name}}
        case Stop():
            body = {"stop": {"accountSid": message.account_sid, "callSid": message.call_sid}}
        case Unknown():
            return _dump({"event": message.event})
    return _dump(
        {
            "event": type(message).__name__.lower(),
            "sequenceNumber": str(message.sequence_number),
            **body,
            "streamSid": message.stream_sid,
        }
    )


def _dump(message: Mapping[str, Any]) -> str:
    return json.dumps(message, separators=(",", ":"))


def _load(frame: str | bytes) -> Mapping[str, Any]:
    if isinstance(frame, bytes):
        raise MediaStreamError(UNDECODABLE, f"binary frame of {len(frame)} bytes where text is expected")
    try:
        message = json.loads(frame)
    except (ValueError, RecursionError) as exc:
        raise MediaStreamError(UNDECODABLE, f"frame is not JSON: {exc}") from exc
    if not isinstance(message, dict):
        raise MediaStreamError(INVALID_MESSAGE, f"frame is a JSON {type(message).__name__}, not an object")
    return message


def _string(message: Mapping[str, Any], key: str, within: str = "") -> str:
    """Return a text. ``within``: what contains it, for the error."""
    value = message.get(key)
    if not isinstance(value, str):
        raise MediaStreamError(INVALID_MESSAGE, f"{within}{key} is missing or not a string")
    return value


def _sid(message: Mapping[str, Any], key: str) -> str:
    value = _string(message, key, "start.")
    if not (value.isascii() and value.isalnum() and len(value) <= SID_LIMIT):
        raise MediaStreamError(INVALID_MESSAGE, f"start.{key} is not a SID")
    return value


def _object(message: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = message.get(key)
    if not isinstance(value, dict):
        raise MediaStreamError(INVALID_MESSAGE, f"{key} is missing or not an object")
    return value


def _string_or(message: Mapping[str, Any], key: str, otherwise: str) -> str:
    value = message.get(key)
    return value if isinstance(value, str) else otherwise


def _number(message: Mapping[str, Any], key: str) -> int:
    """Return a number, as text or not; 0 if it is neither."""
    try:
        return int(message.get(key, 0))
    except (TypeError, ValueError, OverflowError):
        return 0


def _key(dtmf: Mapping[str, Any]) -> str:
    """Return the key of the telephone, A to D in upper case. A number is the key of that digit."""
    digit = dtmf.get("digit")
    key = str(digit) if isinstance(digit, int) and not isinstance(digit, bool) else digit
    if not isinstance(key, str) or len(key) != 1 or key not in "0123456789*#ABCDabcd":
        raise MediaStreamError(INVALID_MESSAGE, f"dtmf digit ({left_out(key)}) is not a key of a telephone")
    return key.upper()
