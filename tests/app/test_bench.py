"""The benchmark measures what it claims: all of a call's audio is tracked, and every fault is counted."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable

import pytest
from callgate.core.wire.media_stream import Media
from callgate.core.wire.media_stream_json import encode_to_app

from bench.bench import Bench, Options, Row
from bench.contenders import Door
from bench.errors import CallRefused
from bench.flow import FRAME_BYTES, Flow, Hop, pattern
from bench.limit import MOST_LOOKS, Search
from bench.model import Load
from bench.report import Figures, render, targets
from bench.wire import MEDIA

pytestmark = pytest.mark.whole

SOME_TIME = 0.5  # seconds


@pytest.mark.parametrize("name", ["callgate", "floor"])
async def test_calls_through_a_relay_are_measured_and_whole(name: str) -> None:
    async with Bench(Options(parts=())).running(name, Load.ECHO) as (rig, relay):
        await rig.set_calls(relay, 2)
        window = await rig.window(relay, SOME_TIME)
        assert window.whole, window
        assert window.calls == 2
        for hop in (window.to_model, window.to_caller):
            assert hop.count > 0
            assert 0 < hop.p50 <= hop.p99
        assert window.cpu > 0
        assert relay.memory() > 0


async def test_where_one_call_is_refused_those_that_were_being_opened_are_forgotten_too() -> None:
    async def refuses_the_second(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not asked.is_set():
            asked.set()
            await enough.wait()
            gone.set()
        writer.close()

    asked, enough, gone = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with (
        await asyncio.start_server(refuses_the_second, "127.0.0.1", 0) as server,
        Bench(Options(parts=())).running("floor", Load.ECHO) as (rig, relay),
    ):
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(CallRefused):
            await rig.set_calls(relay, 2, Door("", f"ws://127.0.0.1:{port}"))
        assert not rig.callers
        enough.set()
        await gone.wait()


def test_a_media_message_is_the_one_that_twilio_would_send() -> None:
    written = MEDIA % (7, 6, 120, b"AAAA", b"MZ1")
    assert written.decode() == encode_to_app(Media("MZ1", "AAAA", "inbound", 6, 120, 7))


class TestFlow:
    """One direction of one call with four frames on their way."""

    @pytest.fixture(autouse=True)
    def _on_their_way(self) -> None:
        self.hop = Hop()
        self.flow = Flow(7, self.hop)
        self.frames = [self.flow.send(pattern(7, FRAME_BYTES), now=float(at)) for at in range(4)]

    def arrive(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.flow.arrived(payload, now=10.0)

    @property
    def faults(self) -> dict[str, int]:
        hop = self.hop
        counts = {"lost": hop.lost, "repeated": hop.repeated, "crossed": hop.crossed, "corrupt": hop.corrupt}
        return {name: count for name, count in {**counts, "stale": hop.stale}.items() if count}

    def test_what_arrives_in_order_is_timed(self) -> None:
        self.arrive(*self.frames)
        assert self.faults == {}
        assert list(self.hop.delays) == [10.0, 9.0, 8.0, 7.0]

    def test_what_does_not_arrive_is_lost(self) -> None:
        self.arrive(self.frames[0], self.frames[3])
        assert self.faults == {"lost": 2}

    def test_what_arrives_twice_is_repeated(self) -> None:
        self.arrive(self.frames[0], self.frames[0], *self.frames[1:])
        assert self.faults == {"repeated": 1}

    def test_what_arrives_behind_a_later_one_is_lost_and_repeated(self) -> None:
        self.arrive(self.frames[1], self.frames[0], *self.frames[2:])
        assert self.faults == {"lost": 1, "repeated": 1}

    def test_what_is_of_another_call_is_crossed(self) -> None:
        self.arrive(Flow(8, Hop()).send(pattern(8, FRAME_BYTES), now=0.0), *self.frames)
        assert self.faults == {"crossed": 1}

    @pytest.mark.parametrize("damage", [lambda frame: frame[:-6] + b"AAAA==", lambda _: b"not base64"])
    def test_what_was_never_sent_so_is_corrupt(self, damage: Callable[[bytes], bytes]) -> None:
        self.arrive(damage(self.frames[0]))
        assert self.faults == {"corrupt": 1}

    def test_what_was_joined_is_whole(self) -> None:
        audio = b"".join(base64.b64decode(frame) for frame in self.frames)
        self.arrive(base64.b64encode(audio))
        assert self.faults == {}
        assert self.hop.joined == 3
        assert self.flow.waiting == 0

    def test_what_was_split_is_whole(self) -> None:
        audio = b"".join(base64.b64decode(frame) for frame in self.frames)
        self.arrive(*(base64.b64encode(audio[at : at + 100]) for at in range(0, len(audio), 100)))
        assert self.faults == {}
        assert self.flow.waiting == 0

    def test_what_was_joined_on_the_way_there_is_followed_on_the_way_back(self) -> None:
        back = Flow(7, self.hop)
        joined = base64.b64encode(b"".join(base64.b64decode(frame) for frame in self.frames[:2]))
        back.forward(joined, now=0.0)
        back.arrived(joined, now=1.0)
        assert self.faults == {}
        assert back.waiting == 0

    def test_what_was_cut_off_may_be_missing(self) -> None:
        self.arrive(self.frames[0])
        self.flow.cut_off()
        self.flow.cleared()
        self.arrive(self.flow.send(pattern(7, FRAME_BYTES), now=9.0))
        assert self.faults == {}

    def test_what_was_cut_off_must_not_come_behind_the_clear(self) -> None:
        self.flow.cut_off()
        self.flow.cleared()
        self.arrive(self.frames[0])
        assert self.faults == {"stale": 1}


@pytest.mark.parametrize("limit", [1, 2, 7, 40, 99, 310, 1000])
@pytest.mark.parametrize("guess", [None, 40, 310])
def test_the_search_ends_close_to_the_limit(limit: int, guess: int | None) -> None:
    search = Search.near(guess)
    for _ in range(MOST_LOOKS):
        search.tell(search.calls <= limit, busy=search.calls / limit)
        if search.done:
            break
    assert search.done
    assert search.good == pytest.approx(limit, rel=0.05)


def _rows(part: str, **values: tuple[float, float]) -> list[Row]:
    """Return figures of callgate and fastapi from two rounds."""
    return [
        Row(part, name, round, {key: pair[index] for key, pair in values.items()})
        for round in range(2)
        for index, name in enumerate(("callgate", "fastapi"))
    ]


@pytest.mark.parametrize(("most", "verdict"), [(400.0, "**met**"), (399.0, "**not met**")])
def test_a_target_is_met_or_not(most: float, verdict: str) -> None:
    (line, *_) = targets(Figures(_rows("limit echo", most=(most, 100.0))))
    assert verdict in line
    assert f"{most / 100:.2f}" in line


@pytest.mark.parametrize(("last", "verdict"), [(122.4, "**met**"), (122.5, "**not met**")])
def test_memory_is_flat_when_the_last_calls_left_nothing(last: float, verdict: str) -> None:
    sizes = (100.0, 120.0, last)  # what the first calls leave behind does not count as growth
    (line,) = targets(Figures([Row("churn", "callgate", at, {"size": size}) for at, size in enumerate(sizes)]))
    assert verdict in line


def test_the_results_hold_every_contender_of_a_part() -> None:
    text = render(_rows("memory", idle=(80.0, 40.0), busy=(90.0, 50.0)), ["some machine"])
    assert "| callgate | 80 | 90 |" in text
    assert "| fastapi | 40 | 50 |" in text
    assert "- some machine" in text
