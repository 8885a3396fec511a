"""What the clock believes was heard, compared with what a telephone really played, for events in any order."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from callgate.core.turns.heard_clock import HeardClock
from callgate.core.wire.media_stream import BYTES_PER_MS
from callgate.peers.phone.simulation.playback import Playback
from hypothesis import given, settings
from hypothesis import strategies as st

STEP_MS = 5
FRAME_MS = 20
MOST_ERROR_MS = 40
ONE_WAY_MS = st.integers(0, 3).map(lambda steps: steps * STEP_MS)

DELTA = st.tuples(
    st.just("delta"), st.booleans(), st.integers(1, 400).map(lambda units: units * 40)
)  # whether the item is new, and bytes
WAIT = st.tuples(st.just("wait"), st.just(False), st.integers(1, 300).map(lambda steps: steps * STEP_MS))
INTERRUPT = st.tuples(st.just("interrupt"), st.just(False), st.just(0))
DONE = st.tuples(st.just("done"), st.just(False), st.just(0))


@dataclass
class Line:
    """A relay's clock and Twilio's playback, with a network between them that takes ``one_way`` ms."""

    one_way: int
    now: int = 0  # ms
    clock: HeardClock = field(default_factory=HeardClock)
    playback: Playback = field(default_factory=Playback)
    to_phone: deque = field(default_factory=deque)
    to_relay: deque = field(default_factory=deque)
    spans: list[tuple[str, int, int]] = field(default_factory=list)  # in the phone's queue: item, first byte, last byte
    items: int = 0
    is_done: bool = True  # the last item is complete, so the next delta starts another

    def send(self, *message: object) -> None:
        self.to_phone.append((self.now + self.one_way, message))

    def delta(self, is_new: bool, size: int) -> None:
        self.items += is_new or self.is_done
        self.is_done = False
        item = f"item_{self.items}"
        mark = self.clock.sent(item, size, self.now / 1000)
        self.send("media", item, size)
        if mark:
            self.send("mark", mark)

    def done(self) -> None:
        self.is_done = True
        self.clock.item_complete(f"item_{self.items}")
        if mark := self.clock.mark():
            self.send("mark", mark)

    def wait(self, milliseconds: int) -> None:
        for _ in range(0, milliseconds, STEP_MS):
            self.now += STEP_MS
            while self.to_phone and self.to_phone[0][0] <= self.now:
                self.arrive(*self.to_phone.popleft()[1])
            if self.now % FRAME_MS == 0:
                self.returned(self.playback.tick().marks)
            while self.to_relay and self.to_relay[0][0] <= self.now:
                self.clock.mark_returned(self.to_relay.popleft()[1], self.now / 1000)

    def arrive(self, kind: str, *what: object) -> None:
        if kind == "media":
            item, size = what
            self.spans.append((item, self.playback.queued, self.playback.queued + size))
            self.playback.media(b"\x7f" * size)
        elif kind == "mark":
            self.returned(self.playback.mark(*what))
        else:
            self.returned(self.playback.clear())

    def returned(self, marks: tuple[str, ...]) -> None:
        self.to_relay.extend((self.now + self.one_way, mark) for mark in marks)

    def interrupt(self) -> None:
        """Interrupt: what the clock believes of every cut item must be what was played of it."""
        sent = {}
        for _, (kind, *what) in self.to_phone:
            if kind == "media":
                sent[what[0]] = sent.get(what[0], 0) + what[1]
        played: dict[str, int] = {}
        for item, first, last in self.spans:
            sent[item] = sent.get(item, 0) + last - first
            played[item] = played.get(item, 0) + max(0, min(self.playback.position, last) - first)
        for cut in self.clock.interrupt(self.now / 1000):
            assert 0 <= cut.heard_ms <= sent[cut.item_id] // BYTES_PER_MS
            assert abs(cut.heard_ms - played.get(cut.item_id, 0) / BYTES_PER_MS) <= MOST_ERROR_MS
        self.send("clear")
        self.spans.clear()
        self.wait(2 * self.one_way + 2 * FRAME_MS)  # the next response comes later
        self.spans.clear()


@settings(max_examples=400)
@given(ONE_WAY_MS, st.lists(st.one_of(DELTA, DELTA, WAIT, INTERRUPT, DONE), min_size=1, max_size=40))
def test_what_is_believed_to_be_heard_is_what_was_played(one_way, happenings):
    line = Line(one_way)
    for kind, is_new, number in happenings:
        match kind:
            case "delta":
                line.delta(is_new, number)
            case "wait":
                line.wait(number)
            case "done":
                line.done()
            case "interrupt":
                line.interrupt()
    line.interrupt()
