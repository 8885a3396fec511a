"""The messages of both sides, as bytes ready to send, and how to find the audio in those that come back.

A relay writes its media messages in one shape, so the place of the payload is learnt from the first and then only
compared: nothing is parsed fifty times a second for each call.
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
"""As `encode_to_app` writes it, of sequence number, chunk, timestamp in ms, payload and stream."""

DELTA = b'{"type":"response.output_audio.delta","event_id":"event_%020d",%b"delta":"%b"}'
DELTA_OF = '"response_id":"{}","item_id":"{}","output_index":0,"content_index":0,'
"""As OpenAI writes it, of the event's number, what it is part of (`DELTA_OF`), and payload."""


def new_sid(prefix: str) -> str:
    """An identifier as Twilio makes them: two letters and 32 hexadecimal digits."""
    return prefix + secrets.token_hex(16)


def connected() -> bytes:
    """The first message of a stream."""
    return encode_to_app(Connected()).encode()


def start(stream_sid: str, call_sid: str, parameters: dict[str, str]) -> bytes:
    """The second message; its sequence number is 1."""
    return encode_to_app(Start(stream_sid, ACCOUNT_SID, call_sid, parameters)).encode()


def mark(stream_sid: str, name: str, number: int) -> bytes:
    """A mark that was reached."""
    return encode_to_app(Mark(stream_sid, name, number)).encode()


def stop(stream_sid: str, call_sid: str, number: int) -> bytes:
    """The last message."""
    return encode_to_app(Stop(stream_sid, ACCOUNT_SID, call_sid, number)).encode()


def dump(event: dict[str, Any]) -> bytes:
    """A model's event: compact JSON."""
    return json.dumps(event, separators=(",", ":")).encode()


def server_frame(message: bytes) -> bytes:
    """A server's text frame, whole (RFC 6455 §5.2), for several in one write. ``message``: up to 65,535 bytes."""
    size = len(message)
    head = bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")
    return head + message


class Cut:
    """Where the payload lies in one sender's messages. ``key``: the name of the field that holds it."""

    __slots__ = ("_end", "_find", "_head", "_head_size", "_tail")

    def __init__(self, key: bytes) -> None:
        self._find = re.compile(rb'"%b"\s*:\s*"([^"]*)"' % key)
        self._head, self._tail = b"\0", b"\0"  # what is before and behind it; at first nothing that ever comes
        self._head_size, self._end = 1, -1

    def payload(self, message: bytes) -> bytes | None:
        """The payload, if the message is just like the one learnt."""
        if message[: self._head_size] == self._head and message[self._end :] == self._tail:
            return message[self._head_size : self._end]
        return None

    def learn(self, message: bytes) -> bytes:
        """The payload of a message that is known to hold one. Raises `ValueError` where it does not."""
        found = self._find.search(message)
        if found is None:
            raise ValueError(f"there is no payload in {message[:80]!r}")
        self._head, self._tail = message[: found.start(1)], message[found.end(1) :]
        self._head_size, self._end = len(self._head), -len(self._tail)
        return found[1]
