"""How much of the agent's speech the caller has heard. Pure; times are seconds of any one clock, positions are bytes.

Audio is sent to Twilio much faster than it is spoken, so what was sent says little about what was heard. Twilio
returns a ``mark`` when everything queued before it has played. Between two marks the clock goes on with the time
that passed: µ-law is 8,000 bytes a second.

    heard = position of the last mark that came back, or 0 when playing began into an idle line
            + time since then, at most all that was sent

A ``clear`` also returns every pending mark at once, though nothing more was heard. So each clear begins a new epoch,
and marks of an older one count for nothing.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from callgate.core.wire.media_stream import BYTES_PER_MS, SAMPLE_RATE

# Bytes of audio before a mark. An item's first tells when it began to play, mostly in an idle line; those behind it
# only that it still plays.
FIRST_MARK: Final = 200 * BYTES_PER_MS
MARK_SPACING: Final = 500 * BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class Cut:
    """An item of the agent's that the caller did not hear to its end. ``heard_ms``: how much of it was heard."""

    item_id: str
    heard_ms: int


@dataclass(slots=True)
class _Span:
    """Where an item's audio lies among all that was sent in this epoch."""

    item_id: str
    start: int
    end: int
    complete: bool = False  # the model has sent all of it

    def heard_ms(self, heard: int) -> int:
        """How much of it was heard, where all was to this position."""
        return max(0, min(heard, self.end) - self.start) // BYTES_PER_MS


class HeardClock:
    """Follows one stream's playback."""

    def __init__(self) -> None:
        self._epoch = 0
        self._sent = 0  # bytes sent in this epoch
        self._marked = 0  # position of the last mark sent …
        self._mark_at = MARK_SPACING  # … and from where on the next is due
        self._confirmed = 0  # position known to be heard …
        self._confirmed_at = 0.0  # … at this time
        self._acked = 0  # position of the last mark that came back
        self._spans: deque[_Span] = deque()

    # What was sent and came back.

    def sent(self, item_id: str, size: int, now: float) -> str:
        """``size`` bytes of an item's audio go to Twilio. Returns the name of the mark to send behind them, or ""."""
        if self.ends_at <= now:
            self._confirmed, self._confirmed_at = self._sent, now  # the line was idle: these begin to play now
        spans = self._spans
        if not spans or spans[-1].item_id != item_id:
            spans.append(_Span(item_id, self._sent, self._sent))
            self._mark_at = min(self._mark_at, self._sent + FIRST_MARK)
        self._sent += size
        spans[-1].end = self._sent
        return self.mark() if self._sent >= self._mark_at else ""

    def item_complete(self, item_id: str) -> None:
        """The model has sent all audio of an item."""
        for span in self._spans:
            if span.item_id == item_id:
                span.complete = True

    def mark(self) -> str:
        """The name of a mark behind all that was sent; "" if there is one already."""
        if self._marked == self._sent:
            return ""
        self._marked = self._sent
        self._mark_at = self._sent + MARK_SPACING
        return f"{self._epoch}:{self._sent}"

    def mark_returned(self, name: str, now: float) -> None:
        """Twilio returned a mark. One that isn't this epoch's, or isn't ours, changes nothing."""
        epoch, _, position = name.partition(":")
        if epoch != str(self._epoch) or not position.isdecimal() or not self._acked < int(position) <= self._marked:
            return
        self._acked = self._confirmed = int(position)
        self._confirmed_at = now
        while self._spans and self._spans[0].complete and self._spans[0].end <= self._acked:
            self._spans.popleft()

    # What that says.

    def position(self, now: float) -> int:
        """How many of the epoch's bytes have been heard."""
        elapsed = max(0.0, now - self._confirmed_at)
        return min(self._sent, self._confirmed + round(elapsed * SAMPLE_RATE))

    @property
    def ends_at(self) -> float:
        """When all that was sent has been played, or was."""
        return self._confirmed_at + (self._sent - self._confirmed) / SAMPLE_RATE

    def playing(self, now: float) -> str | None:
        """The item that is being heard."""
        heard = self.position(now)
        for span in self._spans:
            if span.start <= heard < span.end:
                return span.item_id
        return None

    def heard_ms(self, item_id: str, now: float) -> int:
        """How much of an item was heard, of those that were not heard to their end."""
        heard = self.position(now)
        return next((span.heard_ms(heard) for span in self._spans if span.item_id == item_id), 0)

    @property
    def all_returned(self) -> bool:
        """Whether Twilio said that it has played everything that was sent."""
        return self._acked >= self._sent

    # What a caller who speaks up does to it.

    def interrupt(self, now: float) -> list[Cut]:
        """The caller speaks: what is queued is to be cleared. Returns the items not heard to their end."""
        heard = self.position(now)
        cuts = [
            Cut(span.item_id, span.heard_ms(heard)) for span in self._spans if span.end > heard or not span.complete
        ]
        self._epoch += 1
        self._sent = self._marked = self._confirmed = self._acked = 0
        self._mark_at = MARK_SPACING
        self._confirmed_at = now
        self._spans.clear()
        return cuts
