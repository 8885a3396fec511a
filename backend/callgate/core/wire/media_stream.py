"""The Twilio Media Streams protocol: text in, values out, and back. Pure: no I/O, no clock.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages.

Twilio sends ``connected``, ``start``, then ``media``, ``dtmf`` and ``mark`` in any order, then ``stop``.
We send ``media``, ``mark`` and ``clear``. Audio is µ-law, 8,000 samples a second, one byte a sample, in base64;
it is never decoded here. ``sequenceNumber``, ``media.chunk`` and ``media.timestamp`` are strings on the wire.

Both ends of the socket are spoken from here: the relay reads with `parse_from_twilio` and writes with
`encode_to_twilio`; the simulated Twilio (`callgate.peers.phone`) reads with `parse_from_app` and writes with
`encode_to_app`.
"""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from callgate.core.foreign import left_out, name_or_length
from callgate.errors import MediaStreamError

SAMPLE_RATE: Final = 8000  # samples a second; one µ-law byte a sample
BYTES_PER_MS: Final = SAMPLE_RATE // 1000
FRAME_BYTES: Final = 160  # what Twilio sends in one media message: 20 ms
FRAME_SECONDS: Final = FRAME_BYTES / SAMPLE_RATE
SILENCE = 0xFF  # the µ-law byte of silence (0x00 is near full scale)
PLAYBACK_LIMIT_BYTES = 10 * 60 * SAMPLE_RATE  # Twilio discards what is buffered beyond ten minutes (error 31931)

FROM_TWILIO_LIMIT: Final = 64 * 1024  # characters of one message

SID_LIMIT: Final = 64  # characters; Twilio's are 34

UNDECODABLE = 31950  # binary frame, or text that is not JSON
INVALID_MESSAGE = 31951  # JSON of the wrong shape, or for another stream


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket is open; nothing is known of the call yet."""

    protocol: str = "Call"
    version: str = "1.0.0"


@dataclass(frozen=True, slots=True)
class Start:
    """The stream begins: which call it is, and the ``<Parameter>`` values of the TwiML."""

    stream_sid: str
    account_sid: str
    call_sid: str
    custom_parameters: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    tracks: tuple[str, ...] = ("inbound",)
    encoding: str = "audio/x-mulaw"
    sample_rate: int = SAMPLE_RATE
    channels: int = 1
    sequence_number: int = 1


@dataclass(frozen=True, slots=True)
class Media:
    """Audio. ``payload`` is base64 µ-law; ``timestamp`` is in ms since the stream began (from Twilio only)."""

    stream_sid: str
    payload: str
    track: str = "inbound"
    chunk: int = 0
    timestamp: int = 0
    sequence_number: int = 0


@dataclass(frozen=True, slots=True)
class Dtmf:
    """A key was pressed: one of ``0-9 * # A-D``."""

    stream_sid: str
    digit: str
    sequence_number: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """To Twilio: tell me when all audio before this has played. From Twilio: it has (or was cleared)."""

    stream_sid: str
    name: str
    sequence_number: int = 0


@dataclass(frozen=True, slots=True)
class Clear:
    """To Twilio: throw away what is buffered; every pending mark comes back at once."""

    stream_sid: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The call ended, or the stream was stopped by Twilio."""

    stream_sid: str
    account_sid: str = ""
    call_sid: str = ""
    sequence_number: int = 0


@dataclass(frozen=True, slots=True)
class Unknown:
    """An event of a later protocol version; to be ignored."""

    event: str


FromTwilio = Connected | Start | Media | Dtmf | Mark | Stop | Unknown
FromApp = Media | Mark | Clear


def payload_bytes(payload: str) -> int:
    """How many µ-law bytes a base64 payload holds. Raises `MediaStreamError` where it is not base64."""
    try:
        return len(binascii.a2b_base64(payload, strict_mode=True))
    except (binascii.Error, ValueError) as exc:
        raise MediaStreamError(INVALID_MESSAGE, f"media payload is not base64: {exc}") from exc


def parse_from_twilio(frame: str | bytes) -> FromTwilio:
    """Read one frame as the app receives it from Twilio. Raises `MediaStreamError`."""
    if len(frame) > FROM_TWILIO_LIMIT:
        raise MediaStreamError(INVALID_MESSAGE, f"message of {len(frame)} bytes where Twilio's are some hundred")
    message = _load(frame)
    event = _string(message, "event")
    sequence = _number(message, "sequenceNumber")
    match event:
        case "media":
            body = _object(message, "media")
            payload = _string(body, "payload")
            payload_bytes(payload)
            return Media(
                _string(message, "streamSid"),
                payload,
                _string(body, "track"),
                _number(body, "chunk"),
                _number(body, "timestamp"),
                sequence,
            )
        case "mark":
            return Mark(_string(message, "streamSid"), _string(_object(message, "mark"), "name"), sequence)
        case "dtmf":
            digit = _string(_object(message, "dtmf"), "digit")
            if len(digit) != 1 or digit not in "0123456789*#ABCD":
                raise MediaStreamError(INVALID_MESSAGE, f"dtmf digit ({left_out(digit)}) is not a key of a telephone")
            return Dtmf(_string(message, "streamSid"), digit, sequence)
        case "start":
            return _parse_start(message, sequence)
        case "stop":
            body = _object(message, "stop")
            return Stop(_string(message, "streamSid"), _string(body, "accountSid"), _string(body, "callSid"), sequence)
        case "connected":
            return Connected(_string(message, "protocol"), _string(message, "version"))
    return Unknown(event)


def _parse_start(message: Mapping[str, Any], sequence: int) -> Start:
    body = _object(message, "start")
    form = _object(body, "mediaFormat")
    parameters = body.get("customParameters") or {}
    if not isinstance(parameters, dict) or not all(isinstance(value, str) for value in parameters.values()):
        raise MediaStreamError(INVALID_MESSAGE, "start.customParameters is not an object of strings")
    tracks = body.get("tracks")
    if not isinstance(tracks, list) or not all(isinstance(track, str) for track in tracks):
        raise MediaStreamError(INVALID_MESSAGE, "start.tracks is not a list of strings")
    start = Start(
        stream_sid=_sid(body, "streamSid"),
        account_sid=_sid(body, "accountSid"),
        call_sid=_sid(body, "callSid"),
        custom_parameters=MappingProxyType(parameters),
        tracks=tuple(tracks),
        encoding=_string(form, "encoding"),
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
    """Read one frame as Twilio receives it from an app. Raises `MediaStreamError` with Twilio's code."""
    message = _load(frame)
    event = _string(message, "event")
    if _string(message, "streamSid") != stream_sid:
        raise MediaStreamError(INVALID_MESSAGE, f"{event} is for another streamSid than this stream's")
    match event:
        case "media":
            payload = _string(_object(message, "media"), "payload")
            payload_bytes(payload)
            return Media(stream_sid, payload)
        case "mark":
            return Mark(stream_sid, _string(_object(message, "mark"), "name"))
        case "clear":
            return Clear(stream_sid)
    kind = name_or_length(event)
    raise MediaStreamError(INVALID_MESSAGE, f"{kind} is not an event an app may send (media, mark, clear)")


class MediaCutter:
    """What a call's frequent frames hold, without parsing them, where they are as Twilio writes them.

    Anything else, be it only another order of keys, is left to `parse_from_twilio`, which says the same of what is cut
    here: a `Media` of this stream's inbound track with this audio, a `Mark` of this stream's with this name.
    """

    def __init__(self, stream_sid: str) -> None:
        self._end = f'"}},"streamSid":"{stream_sid}"}}'.encode()
        self._begin = b""  # how the last media message began, its digits as zeros: the next one mostly does so too

    def cut(self, frame: bytes) -> bytes | None:
        """The µ-law audio, in base64; None where the frame is another."""
        begin, end = self._begin, self._end
        if not begin or _with_zeros(frame[: len(begin)]) != begin:
            if (head := _MEDIA_HEAD(frame)) is None:
                return None
            begin = self._begin = _with_zeros(head[0])
        if frame[-len(end) :] != end or len(frame) > FROM_TWILIO_LIMIT:
            return None
        audio = frame[len(begin) : -len(end)]
        return audio if is_base64(audio) else None

    def cut_mark(self, frame: bytes) -> str | None:
        """The name of the mark that came back; None where the frame is another."""
        if (head := _MARK_HEAD(frame)) is None or frame[head.end() :] != self._end:
            return None
        return head[1].decode()


_MARK_HEAD: Final = re.compile(
    rb'\{"event":"mark","sequenceNumber":"[0-9]{1,18}","mark":\{"name":"([0-9a-zA-Z_:]{1,64})'
).match
_MEDIA_HEAD: Final = re.compile(
    rb'\{"event":"media","sequenceNumber":"[0-9]{1,18}","media":'
    rb'\{"track":"inbound","chunk":"[0-9]{1,18}","timestamp":"[0-9]{1,18}","payload":"'
).match
_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_translate: Final = bytes.translate  # where this is compiled, a look-up less
BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDING: Final = ord("=")


def _with_zeros(text: bytes) -> bytes:
    return _translate(text, _ZEROS)


def without(text: bytes, characters: bytes) -> bytes:
    """What is left of a text when these characters are taken out."""
    return _translate(text, None, characters)


def is_base64(text: bytes) -> bool:
    """Whether this is base64 and nothing else, and not empty."""
    if not text or len(text) % 4:
        return False
    padding = without(text, BASE64)
    return not padding or (padding in (b"=", b"==") and text.endswith(padding))


def decoded_bytes(base64: bytes) -> int:
    """How many bytes valid base64 holds, which is not empty."""
    size = len(base64) // 4 * 3
    if base64[-1] == _PADDING:
        size -= 2 if base64[-2] == _PADDING else 1
    return size


def joined(pieces: Iterable[bytes]) -> bytes:
    """Pieces of valid base64 as one, which need not be multiples of three bytes."""
    return binascii.b2a_base64(b"".join(map(binascii.a2b_base64, pieces)), newline=False)


class MediaWriter:
    """Writes the frames that play audio on one stream; the one shape that is sent often, so written by template."""

    def __init__(self, stream_sid: str) -> None:
        self._begin = f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"'.encode()

    def frame(self, payload: bytes) -> bytes:
        """The frame of this µ-law audio, in base64."""
        return self._begin + payload + b'"}}'


def mark_frame(stream_sid: str, name: str) -> bytes:
    """The frame of a mark, whose name needs no escaping."""
    return b'{"event":"mark","streamSid":"%b","mark":{"name":"%b"}}' % (stream_sid.encode(), name.encode())


def encode_to_twilio(message: FromApp) -> str:
    """The text frame of a message that an app sends."""
    match message:
        case Media():
            body: dict[str, Any] = {"media": {"payload": message.payload}}
        case Mark():
            body = {"mark": {"name": message.name}}
        case Clear():
            body = {}
    return _dump({"event": type(message).__name__.lower(), "streamSid": message.stream_sid, **body})


def encode_to_app(message: FromTwilio) -> str:
    """The text frame of a message that Twilio sends."""
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


def _string(message: Mapping[str, Any], key: str) -> str:
    value = message.get(key)
    if not isinstance(value, str):
        raise MediaStreamError(INVALID_MESSAGE, f"{key} is missing or not a string")
    return value


def _sid(message: Mapping[str, Any], key: str) -> str:
    value = _string(message, key)
    if not (value.isascii() and value.isalnum() and len(value) <= SID_LIMIT):
        raise MediaStreamError(INVALID_MESSAGE, f"{key} is no SID")
    return value


def _object(message: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = message.get(key)
    if not isinstance(value, dict):
        raise MediaStreamError(INVALID_MESSAGE, f"{key} is missing or not an object")
    return value


def _number(message: Mapping[str, Any], key: str) -> int:
    value = message.get(key, 0)
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise MediaStreamError(INVALID_MESSAGE, f"{key} is not a number") from None
