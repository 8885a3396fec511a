"""How much of the agent's speech the caller has heard. Pure; times are seconds on any one clock, positions are bytes.

Audio is sent to Twilio much faster than it is played, so what was sent says little about what was heard. Twilio returns
a ``mark`` once everything queued before it has been played. Between two marks the clock advances with the time that has
passed: µ-law is 8,000 bytes a second.

    heard = position of the last mark that came back, or 0 when playback began on an idle line
            + time since then, at most all that was sent

A ``clear`` also returns every pending mark at once, though nothing more was heard. Each clear therefore begins a new
epoch, and marks of older epochs are ignored.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from callgate.core.wire.media_stream import BYTES_PER_MS, SAMPLE_RATE

# Bytes of audio before a mark. An item's first mark tells when the item began to play, usually on an idle line; those
# after it only tell that it is still playing.
FIRST_MARK: Final = 200 * BYTES_PER_MS
MARK_SPACING: Final = 500 * BYTES_PER_MS


@dataclass(frozen=True, slots=True)
class Cut:
    """An item of the agent's that the caller did not hear to the end. ``heard_ms``: how much of it was heard."""

    item_id: str
    heard_ms: int


@dataclass(slots=True)
class _Span:
    """The position of a stretch of an item's audio in all that was sent in this epoch. ``before``: bytes of the item in
    earlier stretches. Usually an item is one stretch, but two items may come by turns."""

    item_id: str
    start: int
    end: int
    before: int = 0
    complete: bool = False  # the model has sent all of the item

    def heard(self, position: int) -> int:
        """How many bytes of the item were heard, if everything up to this position was, and nothing after it."""
        return self.before + max(0, min(position, self.end) - self.start)


class HeardClock:
    """Tracks the playback of one stream."""

    def __init__(self) -> None:
        self._epoch = 0
        self._sent = 0  # bytes sent in this epoch
        self._marked = 0  # position of the last mark sent …
        self._mark_at = MARK_SPACING  # … and the position from which the next one is due
        self._confirmed = 0  # position known to be heard …
        self._confirmed_at = 0.0  # … at this time
        self._acked = 0  # position of the last mark that came back
        self._spans: deque[_Span] = deque()
        self._sizes: dict[str, int] = {}  # bytes of each item whose last stretch was followed by another item's

    # What was sent and what came back.

    def sent(self, item_id: str, size: int, now: float) -> str:
        """``size`` bytes of an item's audio are sent to Twilio. Return the name of the mark to send after them, or ""
        for none."""
        if self.ends_at <= now:
            self._confirmed, self._confirmed_at = self._sent, now  # the line was idle: these begin to play now
        spans = self._spans
        if not spans or spans[-1].item_id != item_id:
            self._begin_span(item_id)
            self._mark_at = min(self._mark_at, self._sent + FIRST_MARK)
        self._sent += size
        spans[-1].end = self._sent
        return self.mark() if self._sent >= self._mark_at else ""

    def _begin_span(self, item_id: str) -> None:
        if self._spans:
            last = self._spans[-1]
            self._sizes[last.item_id] = last.heard(last.end)
        self._spans.append(_Span(item_id, self._sent, self._sent, self._sizes.get(item_id, 0)))

    def item_complete(self, item_id: str) -> None:
        """The model has sent all the audio of an item."""
        for span in self._spans:
            if span.item_id == item_id:
                span.complete = True

    def mark(self) -> str:
        """Return the name of a mark after all that was sent; "" if there is one already."""
        if self._marked == self._sent:
            return ""
        self._marked = self._sent
        self._mark_at = self._sent + MARK_SPACING
        return f"{self._epoch}:{self._sent}"

    def mark_returned(self, name: str, now: float) -> None:
        """Twilio returned a mark. A mark of another epoch, or one that we did not send, is ignored."""
        epoch, _, position = name.partition(":")
        if epoch != str(self._epoch) or not position.isdecimal() or not self._acked < int(position) <= self._marked:
            return
        self._acked = self._confirmed = int(position)
        self._confirmed_at = now
        while self._spans and self._spans[0].complete and self._spans[0].end <= self._acked:
            self._sizes.pop(self._spans.popleft().item_id, None)

    # What follows from that.

    def position(self, now: float) -> int:
        """How many of the epoch's bytes have been heard."""
        elapsed = max(0.0, now - self._confirmed_at)
        return min(self._sent, self._confirmed + round(elapsed * SAMPLE_RATE))

    @property
    def ends_at(self) -> float:
        """When all that was sent will have been played, or was."""
        return self._confirmed_at + (self._sent - self._confirmed) / SAMPLE_RATE

    def playing(self, now: float) -> str | None:
        """The item being played; None: none is."""
        heard = self.position(now)
        for span in self._spans:
            if span.start <= heard < span.end:
                return span.item_id
        return None

    def heard_ms(self, item_id: str, now: float) -> int:
        """How many ms of an item were heard, if it was not heard to the end."""
        return self._heard(item_id, self.position(now)) // BYTES_PER_MS

    @property
    def all_returned(self) -> bool:
        """Whether Twilio has confirmed that it played everything that was sent."""
        return self._acked >= self._sent

    def unconfirmed(self) -> set[str]:
        """Return the items of which we do not know yet that they were heard to the end."""
        return {span.item_id for span in self._spans if span.end > self._acked}

    # Interruption by the caller.

    def interrupt(self, now: float) -> list[Cut]:
        """The caller speaks: the queue is to be cleared. Return the items that were not heard to the end."""
        heard = self.position(now)
        not_to_the_end = dict.fromkeys(span.item_id for span in self._spans if span.end > heard or not span.complete)
        cuts = [Cut(item_id, self._heard(item_id, heard) // BYTES_PER_MS) for item_id in not_to_the_end]
        self._epoch += 1
        self._sent = self._marked = self._confirmed = self._acked = 0
        self._mark_at = MARK_SPACING
        self._confirmed_at = now
        self._spans.clear()
        self._sizes.clear()
        return cuts

    def _heard(self, item_id: str, position: int) -> int:
        """How many bytes of an item were heard, if everything up to this position was."""
        heard: int | None = None
        for span in self._spans:
            if span.item_id == item_id and (heard is None or span.start < position):
                heard = span.heard(position)
        return heard or 0
