"""Twilio's side of many calls: a media message every 20 ms for each, and marks returned when played.

Playback works as at Twilio: audio is queued and played in order. A mark comes back when all audio before it has been
played (checked every 20 ms, under every load), and at once when ``clear`` empties the queue.
"""

from __future__ import annotations

import asyncio
import json
from array import array
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Any

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from . import wire
from .clocks import Metronome
from .flow import Flow

FRAME_MS = 20
SECONDS_A_CHARACTER = 3 / 4 / 8000  # playing time of one base64 character of µ-law
TICKS = 40  # per 20 ms frame
TICK = FRAME_MS / 1000 / TICKS  # seconds
GOLDEN_RATIO = 0.618034  # its multiples spread any number of calls evenly

TEXT = WSMsgType.TEXT


class Tally:
    """What the callers of all calls observed apart from the audio. Delays are in seconds."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Reset all figures for a new window."""
        self.clear_delays = array("d")  # from speech_started to clear
        self.first_audio = array("d")  # from the upgrade to the first audio heard
        self.webhooks = array("d")  # from the webhook to its TwiML
        self.problems: list[str] = []  # calls that ended, and messages that Twilio would not accept


class Caller(WSListener):
    """One call, from the upgrade to the close. ``token`` is the stream token from the TwiML. ``words`` is the audio
    the caller sends behind the tag."""

    def __init__(
        self, number: int, to_model: Flow, to_caller: Flow, tally: Tally, call_sid: str, token: str, words: bytes
    ) -> None:
        self.number = number
        self.to_model = to_model
        self.to_caller = to_caller
        self.closed = asyncio.get_running_loop().create_future()
        self.plays_at_once = False  # return marks at once, as if playback ran on a faster clock
        self.on_heard: Callable[[], None] | None = None
        self._tally = tally
        self.call_sid = call_sid
        self._token = token
        self.stream_sid = wire.new_sid("MZ")
        self._sid = self.stream_sid.encode()
        self._rest = words
        self._cut = wire.Cut(b"payload")
        self._sent = 1  # number of messages sent with a sequenceNumber
        self._chunks = 0
        self._silent_at = 0.0  # when all queued audio will have been played
        self._marks: deque[tuple[float, str]] = deque()  # when each is due, and its name
        self._upgraded_at: float | None = None  # until the first audio is heard
        self._spoke_at: float | None = None  # when the model reported speech, until clear arrives
        self._transport: WSTransport | None = None  # while the stream is open

    # Opening and closing the stream.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self._upgraded_at = perf_counter()
        transport.send(TEXT, wire.connected())
        transport.send(TEXT, wire.start(self.stream_sid, self.call_sid, {"token": self._token}))
        self.speak(perf_counter())

    def hang_up(self) -> None:
        """Send ``stop`` and close."""
        if self._transport is not None:
            self._transport.send(TEXT, wire.stop(self.stream_sid, self.call_sid, self._sent + 1))
            self._transport.send_close(WSCloseCode.OK)
            self._transport = None

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self._transport is not None:
            self._tally.problems.append(f"call {self.number} was closed by the relay")
            self._transport = None
        if not self.closed.done():
            self.closed.set_result(None)

    # Sending.

    def speak(self, now: float) -> None:
        """Send the caller's next 20 ms of audio, and the marks that playback has reached."""
        transport = self._transport
        if transport is None:
            return
        payload = self.to_model.send(self._rest, now)
        self._sent += 1
        self._chunks += 1
        transport.send(TEXT, wire.MEDIA % (self._sent, self._chunks, self._chunks * FRAME_MS, payload, self._sid))
        while self._marks and self._marks[0][0] <= now:
            self._return_mark(transport)

    def _return_mark(self, transport: WSTransport) -> None:
        self._sent += 1
        transport.send(TEXT, wire.mark(self.stream_sid, self._marks.popleft()[1], self._sent))

    # Receiving.

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        now = perf_counter()
        message = frame.get_payload_as_bytes()
        payload = self._cut.payload(message)
        if payload is not None:
            self._hear(payload, now)
        elif frame.msg_type is TEXT:
            self._do(transport, message, now)
        elif frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code())
            transport.disconnect()

    def _do(self, transport: WSTransport, message: bytes, now: float) -> None:
        body: dict[str, Any] = json.loads(message)
        if body.get("streamSid") != self.stream_sid:
            self._tally.problems.append(f"call {self.number} got a message of another stream")
        elif body["event"] == "media":
            self._hear(self._cut.learn(message), now)
        elif body["event"] == "mark":
            self._marks.append((max(self._silent_at, now), body["mark"]["name"]))
            if self.plays_at_once:
                self._return_mark(transport)
        elif body["event"] == "clear":
            self._clear(transport, now)
        else:
            self._tally.problems.append(f"call {self.number} got {body['event']!r}")

    def _hear(self, payload: bytes, now: float) -> None:
        self.to_caller.arrived(payload, now)
        self._silent_at = max(self._silent_at, now) + len(payload) * SECONDS_A_CHARACTER
        if self._upgraded_at is not None:
            self._tally.first_audio.append(now - self._upgraded_at)
            self._upgraded_at = None
        if self.on_heard is not None:
            self.on_heard()

    def _clear(self, transport: WSTransport, now: float) -> None:
        if self._spoke_at is not None:
            self._tally.clear_delays.append(now - self._spoke_at)
            self._spoke_at = None
        self.to_caller.cleared()
        self._silent_at = now
        while self._marks:
            self._return_mark(transport)

    # Called by the model.

    def speaks_over(self, now: float) -> None:
        """Record that the caller starts talking over the answer, just before the model reports it."""
        if self._spoke_at is not None:
            self._tally.problems.append(f"call {self.number} was not told to clear")
        self._spoke_at = now
        self.to_caller.cut_off()


class Pacer:
    """Makes each call speak every 20 ms, with the calls spread evenly over that time's 40 ticks."""

    def __init__(self) -> None:
        self.late = array("d")  # seconds by which messages were sent late
        self._ticks: list[list[Caller]] = [[] for _ in range(TICKS)]
        self._began = perf_counter()
        self._done = 0  # ticks since then
        self._metronome = Metronome(TICK, self._tick)

    def add(self, caller: Caller) -> None:
        """Make a caller speak from now on."""
        self._tick_of(caller).append(caller)

    def remove(self, caller: Caller) -> None:
        """Make a caller stop speaking."""
        self._tick_of(caller).remove(caller)

    def stop(self) -> None:
        """Stop all callers. Must be called only once."""
        self._metronome.stop()

    def _tick_of(self, caller: Caller) -> list[Caller]:
        return self._ticks[int(caller.number * GOLDEN_RATIO % 1 * TICKS)]

    def _tick(self) -> None:
        due = int((perf_counter() - self._began) / TICK)
        while self._done < due:
            late = perf_counter() - self._began - self._done * TICK - TICK
            for caller in self._ticks[self._done % TICKS]:
                self.late.append(late)
                caller.speak(perf_counter())
            self._done += 1
