"""A client of one `RealtimeServer`, in memory, with a clock that moves only when told to."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

from callgate.core.wire.media_stream import FRAME_BYTES, FRAME_SECONDS, SAMPLE_RATE, SILENCE
from callgate.peers.linecheck import clips
from callgate.peers.linecheck.realtime.client_events import Event
from callgate.peers.linecheck.realtime.protocol import Answerer, RealtimeServer
from callgate.peers.linecheck.realtime.scripted import Manner, SpeechPace

from support.realtime_types import validate_server_event

PCMU = {"type": "audio/pcmu"}
WORDS = clips.greeting()[: 2 * SAMPLE_RATE]  # two seconds of real speech


def silence(seconds: float) -> bytes:
    """Return digital silence, µ-law."""
    return bytes([SILENCE]) * round(seconds * SAMPLE_RATE)


def user_text(text: str) -> Event:
    """Return a user message with one text."""
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


class Driver:
    """Sends client events and collects the server's answers, each checked against the SDK's types."""

    def __init__(
        self,
        answerer: Answerer = clips.answer,
        *,
        pace: SpeechPace | None = None,
        manner: Manner | None = None,
        transcribe: Callable[[bytes], str | None] = clips.describe,
        opened: bool = True,
    ) -> None:
        self.now = 1_000.0
        self.events: list[Event] = []
        self.server = RealtimeServer(
            answerer,
            name="test",
            model="line-check",
            transcribe=transcribe,
            expires_at=2_000_000_000,
            manner=manner or Manner(pace=pace or SpeechPace()),
            rate_limits=[{"name": "requests", "limit": 100, "remaining": 99, "reset_seconds": 0.6}],
        )
        if opened:
            self._take(self.server.open(self.now))
            self.configure()

    def _take(self, events: list[Event]) -> list[Event]:
        for event in events:
            validate_server_event(event)
        self.events += events
        return events

    def send(self, type: str, **fields: Any) -> list[Event]:
        """Send one client event, and return the immediate answers."""
        return self.send_frame(json.dumps({"type": type, **fields}))

    def send_frame(self, frame: str | bytes) -> list[Event]:
        return self._take(self.server.receive(frame, self.now))

    def fail(self, type: str, code: str, message: str) -> list[Event]:
        return self._take(self.server.fail(type, code, message, self.now))

    def configure(self, **turn_detection: Any) -> list[Event]:
        """Configure µ-law both ways, and turn detection by server VAD with these settings."""
        settings = {"type": "server_vad", **turn_detection}
        audio = {"input": {"format": PCMU, "turn_detection": settings}, "output": {"format": PCMU}}
        return self.send("session.update", session={"type": "realtime", "audio": audio})

    def append(self, audio: bytes) -> list[Event]:
        """Append audio in one event, without letting time pass."""
        return self.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())

    def speak(self, audio: bytes) -> None:
        """Send audio as a telephone does: 20 ms frames, 20 ms apart."""
        for start in range(0, len(audio), FRAME_BYTES):
            self.append(audio[start : start + FRAME_BYTES])
            self.wait(FRAME_SECONDS)

    def wait(self, seconds: float) -> None:
        """Let time pass, with a tick at each of the server's deadlines."""
        end = self.now + seconds
        while (deadline := self.server.next_deadline) is not None and deadline <= end:
            self.now = max(deadline, self.now)
            self._take(self.server.tick(self.now))
        self.now = end

    def finish(self) -> None:
        """Let time pass until nothing is in progress."""
        while (deadline := self.server.next_deadline) is not None:
            self.wait(max(deadline - self.now, 0))

    def greeted(self) -> Driver:
        """Let the greeting be spoken, and forget the events so far."""
        self.send("response.create")
        self.finish()
        self.events.clear()
        return self

    def of(self, type: str) -> list[Event]:
        """Return the events of one type so far."""
        return [event for event in self.events if event["type"] == type]

    @property
    def types(self) -> list[str]:
        """Return the types of the events so far, with repeats in a row listed once."""
        types = [event["type"] for event in self.events]
        return [name for index, name in enumerate(types) if index == 0 or types[index - 1] != name]

    @property
    def spoken(self) -> bytes:
        """Return all audio that the server has sent."""
        return b"".join(base64.b64decode(event["delta"]) for event in self.of("response.output_audio.delta"))

    @property
    def errors(self) -> list[str]:
        """Return the codes of the errors so far."""
        return [event["error"]["code"] for event in self.of("error")]
