"""What a test can inspect afterwards: the connections, and what came and went on them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Event: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Received:
    """A client event, with the time of its arrival (of the event loop) and its connection (counted from 0)."""

    at: float
    connection: int
    event: Event


@dataclass(slots=True)
class Connection:
    """One accepted WebSocket."""

    number: int
    model: str
    headers: Mapping[str, str]
    is_open: bool = True
    close_code: int | None = None  # the client's close code
    closed_at: float | None = None  # in the loop's time
    ended_by_fake: bool = False  # a fault, or the session's hour, ended it
    received: list[Event] = field(default_factory=list)
    sent: list[Event] = field(default_factory=list)
    sent_at: list[float] = field(default_factory=list)  # when each was sent, in the loop's time

    @property
    def audio(self) -> bytes:
        """All audio that the client has appended."""
        appended = (event["audio"] for event in self.received if event.get("type") == "input_audio_buffer.append")
        return b"".join(base64.b64decode(audio) for audio in appended)

    @property
    def errors(self) -> list[Event]:
        """The ``error`` of each ``error`` event that was sent."""
        return [event["error"] for event in self.sent if event["type"] == "error"]
