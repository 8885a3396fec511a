"""The messages of the Twilio Media Streams protocol, as objects. Pure: no I/O, no clock.

Source: https://www.twilio.com/docs/voice/media-streams/websocket-messages.

Twilio sends ``connected``, ``start``, then ``media``, ``dtmf`` and ``mark`` in any order, then ``stop``. We send
``media``, ``mark`` and ``clear``. Audio is base64 µ-law, 8,000 samples a second, one byte per sample; it is never
decoded here. `media_stream_json` reads and writes all messages, `media_stream_fast` the frequent ones.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from callgate.errors import MediaStreamError

SAMPLE_RATE: Final = 8000  # samples a second; one µ-law byte per sample
BYTES_PER_MS: Final = SAMPLE_RATE // 1000
FRAME_BYTES: Final = 160  # in one of Twilio's media messages: 20 ms
FRAME_SECONDS: Final = FRAME_BYTES / SAMPLE_RATE
SILENCE = 0xFF  # the µ-law byte of silence (0x00 is near full scale)
PLAYBACK_LIMIT_BYTES = 10 * 60 * SAMPLE_RATE  # Twilio discards buffered audio beyond ten minutes (error 31931)

FROM_TWILIO_LIMIT: Final = 64 * 1024  # characters of one message

SID_LIMIT: Final = 64  # characters; Twilio's are 34

UNDECODABLE = 31950  # a binary frame, or text that is not JSON
INVALID_MESSAGE = 31951  # JSON of the wrong shape, or for another stream


@dataclass(frozen=True, slots=True)
class Connected:
    """The socket is open; nothing is known about the call yet."""

    protocol: str = "Call"
    version: str = "1.0.0"


@dataclass(frozen=True, slots=True)
class Start:
    """The stream begins: it names the call and the ``<Parameter>`` values of the TwiML."""

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
    """To Twilio: report when all audio before this has played. From Twilio: it has (or was cleared)."""

    stream_sid: str
    name: str
    sequence_number: int = 0


@dataclass(frozen=True, slots=True)
class Clear:
    """To Twilio: discard what is buffered; every pending mark comes back at once."""

    stream_sid: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The call ended, or Twilio stopped the stream."""

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
    """Return how many µ-law bytes a base64 payload holds. Raises `MediaStreamError` if it is not base64."""
    try:
        return len(binascii.a2b_base64(payload, strict_mode=True))
    except (binascii.Error, ValueError) as exc:
        raise MediaStreamError(INVALID_MESSAGE, f"media payload is not base64: {exc}") from exc
