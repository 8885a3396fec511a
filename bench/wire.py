"""The messages of both sides, as bytes ready to send, and a way to find the audio in those that come back.

A relay writes its media messages in one shape, so the place of the payload is learnt from the first and only compared
from then on. Nothing is parsed fifty times a second per call.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

from callgate.core.wire.media_stream import Connected, Mark, Start, Stop
from callgate.core.wire.media_stream_json import encode_to_app

ACCOUNT_SID = "AC" + "0" * 32

MEDIA = (
    b'{"event":"media","sequenceNumber":"%d","media":{"track":"inbound","chunk":"%d","timestamp":"%d","payload":"%b"},'
    b'"streamSid":"%b"}'
)
"""The same bytes as `encode_to_app`, from sequence number, chunk, timestamp in ms, payload and stream SID."""

DELTA = b'{"type":"response.output_audio.delta","event_id":"event_%020d",%b"delta":"%b"}'
DELTA_OF = '"response_id":"{}","item_id":"{}","output_index":0,"content_index":0,'
"""OpenAI's format, from the event's number, what the delta belongs to (`DELTA_OF`), and payload."""


def new_sid(prefix: str) -> str:
    """Return an identifier in Twilio's format: two letters and 32 hexadecimal digits."""
    return prefix + secrets.token_hex(16)


def connected() -> bytes:
    """Return the first message of a stream."""
    return encode_to_app(Connected()).encode()


def start(stream_sid: str, call_sid: str, parameters: dict[str, str]) -> bytes:
    """Return the second message, whose sequence number is 1."""
    return encode_to_app(Start(stream_sid, ACCOUNT_SID, call_sid, parameters)).encode()


def mark(stream_sid: str, name: str, number: int) -> bytes:
    """Return the message for a mark that was reached."""
    return encode_to_app(Mark(stream_sid, name, number)).encode()


def stop(stream_sid: str, call_sid: str, number: int) -> bytes:
    """Return the last message of a stream."""
    return encode_to_app(Stop(stream_sid, ACCOUNT_SID, call_sid, number)).encode()


def dump(event: dict[str, Any]) -> bytes:
    """Return a model's event as compact JSON."""
    return json.dumps(event, separators=(",", ":")).encode()


def server_frame(message: bytes) -> bytes:
    """Return a complete text frame from a server (RFC 6455 §5.2), so that several can be sent in one write.
    ``message`` is up to 65,535 bytes."""
    size = len(message)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + message


class Cut:
    """The position of the payload in one sender's messages. ``key`` is the name of the field that holds it."""

    __slots__ = ("_end", "_find", "_head", "_head_size", "_tail")

    def __init__(self, key: bytes) -> None:
        self._find = re.compile(rb'"%b"\s*:\s*"([^"]*)"' % key)
        self._head, self._tail = b"\0", b"\0"  # the bytes before and after it; at first, bytes that match no message
        self._head_size, self._end = 1, -1

    def payload(self, message: bytes) -> bytes | None:
        """Return the payload if the message has the shape that was learnt."""
        if message[: self._head_size] == self._head and message[self._end :] == self._tail:
            return message[self._head_size : self._end]
        return None

    def learn(self, message: bytes) -> bytes:
        """Learn from a message that contains a payload, and return it. Raises `ValueError` if it contains none."""
        found = self._find.search(message)
        if found is None:
            raise ValueError(f"no payload in {message[:80]!r}")
        self._head, self._tail = message[: found.start(1)], message[found.end(1) :]
        self._head_size, self._end = len(self._head), -len(self._tail)
        return found[1]
