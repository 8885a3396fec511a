"""What happened in a call, and when. Pure; contains no secrets, because URLs and numbers are masked first."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

Detail = str | int | float | bool | None

_TOKEN_LENGTH: Final = 16  # a path segment this long is taken for a token
_EVENTS_SHOWN: Final = 10_000  # per call, so that a peer that floods the line can't fill the memory


@dataclass(frozen=True, slots=True)
class Event:
    """An event in a call. ``at``: seconds since the call began. ``detail``: values for machines, by name."""

    at: float
    kind: str
    text: str
    detail: dict[str, Detail] = field(default_factory=dict)

    def as_json(self) -> dict[str, Detail]:
        """Return the event as a flat JSON object."""
        return {"at": round(self.at, 4), "event": self.kind, "text": self.text, **self.detail}

    def as_line(self) -> str:
        """Return the event as a line of the table."""
        return f"{self.at:9.3f}  {self.kind:<12} {self.text}"


class Timeline:
    """The events of one call, in order. ``on_event`` is called with each as it happens."""

    def __init__(self, on_event: Callable[[Event], None] | None = None) -> None:
        self.events: list[Event] = []
        self._on_event = on_event

    def add(self, at: float, kind: str, text: str, **detail: Detail) -> None:
        """Add an event."""
        if len(self.events) >= _EVENTS_SHOWN:
            return
        event = Event(at, kind, text, detail)
        self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)


def mask_url(url: str, secrets: Collection[str] = ()) -> str:
    """Return the URL without what may be secret: long path segments, ``secrets``, user information, query, fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    path = "/".join("***" if len(part) >= _TOKEN_LENGTH or part in secrets else part for part in parts.path.split("/"))
    if ":" in host:
        host = f"[{host}]"
    origin = f"{parts.scheme}://{host}{port}" if host else ""
    return origin + path + ("?***" if parts.query else "")


def table(events: Collection[Event]) -> str:
    """Return the events as text, one per line, under a heading."""
    return "\n".join([f"{'seconds':>9}  {'event':<12} what", *(event.as_line() for event in events)])
