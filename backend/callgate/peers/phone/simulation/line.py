"""Twilio's side of one Media Stream, between a caller and an app. Pure; time is passed in (seconds of the call).

`Line.tick` is called every 20 ms and returns the messages to send; `Line.receive` takes in what the app sent. Only
`tick` returns messages, so that sequence numbers are in order: an acknowledgement waits at most 20 ms.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from callgate.core.wire.media_stream import (
    BYTES_PER_MS,
    FRAME_BYTES,
    SILENCE,
    Clear,
    Connected,
    Dtmf,
    FromTwilio,
    Mark,
    Media,
    Start,
    Stop,
)
from callgate.core.wire.media_stream_json import parse_from_app
from callgate.errors import MediaStreamError

from .caller import Caller
from .playback import BUFFER_OVERFLOW, Playback
from .report import CallError
from .timeline import Timeline

ERRORS_KEPT = 100  # per stream; further ones are only counted


@dataclass(slots=True)
class Recording:
    """Both sides of a call, sample-aligned, from the first frame of its first stream. µ-law, 8,000 bytes per second."""

    began: float | None = None  # seconds since the call began
    said: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)

    def begin(self, now: float) -> None:
        """Begin a stream. The time since the last one is filled with silence."""
        if self.began is None:
            self.began = now
        gap = max(0, round((now - self.began) * 1000) * BYTES_PER_MS - len(self.said))
        self.said += bytes([SILENCE]) * gap
        self.heard += bytes([SILENCE]) * gap

    def add(self, said: bytes, heard: bytes) -> None:
        """Add one frame of each side."""
        self.said += said
        self.heard += heard


class _Numbered:
    """Makes the messages of one stream, with their sequence numbers."""

    def __init__(self, start: Start) -> None:
        self.start = start
        self._sequence = start.sequence_number
        self._chunk = 0

    def media(self, frame: bytes) -> Media:
        self._chunk += 1
        timestamp = (self._chunk - 1) * FRAME_BYTES // BYTES_PER_MS
        payload = base64.b64encode(frame).decode("ascii")
        return Media(self.start.stream_sid, payload, "inbound", self._chunk, timestamp, self._next())

    def mark(self, name: str) -> Mark:
        return Mark(self.start.stream_sid, name, self._next())

    def digit(self, digit: str) -> Dtmf:
        return Dtmf(self.start.stream_sid, digit, self._next())

    def stop(self) -> Stop:
        return Stop(self.start.stream_sid, self.start.account_sid, self.start.call_sid, self._next())

    def _next(self) -> int:
        self._sequence += 1
        return self._sequence


class Line:
    """The state of one stream, from ``start`` on, and what the report says about it."""

    def __init__(self, start: Start, caller: Caller, recording: Recording, timeline: Timeline) -> None:
        self.start = start
        self.hung_up = False
        self.errors: list[CallError] = []
        self.errors_dropped = 0
        self.marks = 0  # acknowledged
        self.clears = 0
        self.first_audio: float | None = None
        self._caller = caller
        self._recording = recording
        self._timeline = timeline
        self._playback = Playback()
        self._acks: list[str] = []
        self._numbered = _Numbered(start)
        self._began = 0.0

    def begin(self, now: float) -> tuple[FromTwilio, FromTwilio]:
        """Open the stream. Returns the first two messages."""
        self._began = now
        self._recording.begin(now)
        self._caller.resume(now)
        self._timeline.add(now, "start", self.start.stream_sid, stream_sid=self.start.stream_sid)
        return Connected(), self.start

    def receive(self, frame: str | bytes, now: float) -> None:
        """Take in a frame from the app. As with Twilio, one that breaks the protocol is logged and discarded."""
        try:
            self._take(frame, now)
        except MediaStreamError as exc:
            self.error(CallError(exc.code, str(exc), now))

    def tick(self, now: float) -> list[FromTwilio]:
        """Play and say the next 20 ms. Returns the messages to send, in order."""
        heard = self._playback.tick()
        self._acks += heard.marks
        turn = self._caller.tick(now, heard, self._playback, len(self._recording.said))
        if self.first_audio is None and self._caller.ear.audible:
            self.first_audio = now - self._began
            self._timeline.add(now, "first audio", f"{self.first_audio * 1000:.0f} ms after start")
        self._recording.add(turn.frame, heard.audio)
        messages: list[FromTwilio] = [self._numbered.mark(name) for name in self._acks]
        self.marks += len(self._acks)
        self._acks.clear()
        messages.append(self._numbered.media(turn.frame))
        if turn.digit is not None:
            messages.append(self._numbered.digit(turn.digit))
        if turn.hangs_up:
            messages.append(self.hang_up())
        return messages

    def hang_up(self) -> Stop:
        """End the call for the caller. Returns the last message."""
        self.hung_up = True
        return self._numbered.stop()

    def error(self, error: CallError) -> None:
        """Note what the app did wrong."""
        if len(self.errors) >= ERRORS_KEPT:
            self.errors_dropped += 1
            return
        self.errors.append(error)
        self._timeline.add(error.at, "error", error.reason, code=error.code)

    def _take(self, frame: str | bytes, now: float) -> None:
        match parse_from_app(frame, self.start.stream_sid):
            case Media(payload=payload):
                lost = self._playback.media(binascii.a2b_base64(payload))
                if lost:
                    raise MediaStreamError(BUFFER_OVERFLOW, f"more than 10 minutes are buffered; {lost} bytes are lost")
            case Mark(name=name):
                self._acks += self._playback.mark(name)
            case Clear():
                self.clears += 1
                buffered = self._playback.buffered
                self._acks += self._playback.clear()
                self._timeline.add(now, "clear", f"{buffered / BYTES_PER_MS:.0f} ms of audio discarded")
                self._caller.cleared(now, self._playback)


def make_start(
    sids: tuple[str, str, str], parameters: Mapping[str, str] | Iterable[tuple[str, str]], sequence_number: int = 1
) -> Start:
    """Make the ``start`` message of a stream. ``sids``: of the stream, the account and the call."""
    stream_sid, account_sid, call_sid = sids
    return Start(stream_sid, account_sid, call_sid, dict(parameters), sequence_number=sequence_number)
