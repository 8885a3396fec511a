"""What Twilio plays to the caller, and when its marks come back."""

from __future__ import annotations

from collections.abc import Callable

from callgate.core.wire.media_stream import SAMPLE_RATE

from .agenda import Agenda
from .truth import Part

ONE_WAY = 0.04  # seconds between Twilio and us


class Playback:
    """The queue of one stream. ``returned``: called with the name of each mark that came back."""

    def __init__(self, agenda: Agenda, returned: Callable[[str], None]) -> None:
        self.clears = 0
        self._agenda = agenda
        self._returned = returned
        self._ends_at = self._speech_ends_at = 0.0
        self._queued: list[tuple[Part | None, float, int]] = []  # the part, when it begins to play, and bytes
        self._marks: dict[int, str] = {}  # that have not come back
        self._count = 0

    @property
    def plays(self) -> bool:
        """Whether there would be something left of what was sent, if a message were sent to Twilio now."""
        return self._ends_at > self._agenda.now + ONE_WAY

    @property
    def speaks(self) -> bool:
        """Whether the agent is still heard, other than by a clip."""
        return self._speech_ends_at > self._agenda.now

    @property
    def is_told(self) -> bool:
        """Whether we have been told that the agent was heard to its end."""
        return self._speech_ends_at + 2 * ONE_WAY < self._agenda.now

    def media(self, part: Part | None, size: int) -> None:
        """Audio is sent; ``part`` is None for a clip."""
        begins = max(self._ends_at, self._agenda.now + ONE_WAY)
        if not self.plays:
            self._queued.clear()
        self._queued.append((part, begins, size))
        self._ends_at = begins + size / SAMPLE_RATE
        if part is not None:
            part.forwarded += size
            part.heard += size
            self._speech_ends_at = self._ends_at

    def mark(self, name: str) -> None:
        """A mark is sent."""
        self._count += 1
        self._marks[self._count] = name
        when = max(self._ends_at, self._agenda.now + ONE_WAY)
        self._agenda.at(when + ONE_WAY, self._returns, self._count)

    def clear(self) -> None:
        """All that has not been played is discarded, and all marks come back."""
        self.clears += 1
        now = self._agenda.now + ONE_WAY
        for part, begins, size in self._queued:
            played = min(size, max(0, round((now - begins) * SAMPLE_RATE)))
            if part is not None:
                part.heard -= size - played
        self._queued.clear()
        self._ends_at = min(self._ends_at, now)
        self._speech_ends_at = min(self._speech_ends_at, now)
        for number in self._marks:
            self._agenda.after(2 * ONE_WAY, self._returns, number)

    def _returns(self, number: int) -> None:
        name = self._marks.pop(number, None)
        if name is not None:
            self._returned(name)
