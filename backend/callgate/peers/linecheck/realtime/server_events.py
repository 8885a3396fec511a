"""The events for the client, in order, each with a unique id."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from callgate.core.wire.media_stream import SAMPLE_RATE

from .client_events import Event
from .items import Item
from .schema import EventRefused


class ServerEvents:
    """The server events of one session. ``name`` makes its ids differ from those of other sessions."""

    def __init__(
        self, name: str, transcribe: Callable[[bytes], str | None], rate_limits: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        self._name = name
        self._transcribe = transcribe
        self._rate_limits = rate_limits
        self._numbers = itertools.count(1)
        self._outgoing: list[Event] = []

    def take(self) -> list[Event]:
        """Return the events to send now."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def new_id(self, kind: str) -> str:
        """Return an id that the session has not used yet."""
        return f"{kind}_{self._name}{next(self._numbers):06x}"

    def emit(self, type: str, /, **fields: Any) -> None:
        """Add an event of any type."""
        self._outgoing.append({"type": type, "event_id": self.new_id("event"), **fields})

    def refusal(self, refused: EventRefused, event_id: str | None) -> None:
        """Add an ``error`` event for a client event that can't be carried out. ``event_id``: the client event's."""
        self.error("invalid_request_error", refused.code, refused.message, refused.param, event_id)

    def error(
        self, type: str, code: str | None, message: str, param: str | None = None, event_id: str | None = None
    ) -> None:
        """Add an ``error`` event."""
        error = {"type": type, "code": code, "message": message, "param": param, "event_id": event_id}
        self.emit("error", error=error)

    def item(self, item: Item, previous_item_id: str | None) -> None:
        """Add the events for a new item in the conversation."""
        self.emit("conversation.item.added", previous_item_id=previous_item_id, item=dict(item.resource))
        self.emit("conversation.item.done", previous_item_id=previous_item_id, item=dict(item.resource))

    def transcription(self, item_id: str, audio: bytes) -> None:
        """Add the events with the transcript of the caller's ``audio``, or the one that says that there is none."""
        kind = "conversation.item.input_audio_transcription"
        transcript = self._transcribe(audio)
        if transcript is None:
            error = {"type": "server_error", "code": "transcription_failed", "message": "Transcription failed."}
            self.emit(f"{kind}.failed", item_id=item_id, content_index=0, error={**error, "param": None})
            return
        self.emit(f"{kind}.delta", item_id=item_id, content_index=0, delta=transcript)
        usage = {"type": "duration", "seconds": len(audio) / SAMPLE_RATE}
        self.emit(f"{kind}.completed", item_id=item_id, content_index=0, transcript=transcript, usage=usage)

    def limits(self) -> None:
        """Add the event with the client's remaining rate limits."""
        self.emit("rate_limits.updated", rate_limits=[dict(limit) for limit in self._rate_limits])
