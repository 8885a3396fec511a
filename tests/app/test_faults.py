"""A model that fails, or only seems to, in the middle of a call: some of the calls of ``bench/faults``."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Iterator

import pytest
from callgate.peers.linecheck.realtime.response import SpeechPace
from support.fake_openai import PATIENCE, At, Close, Connection, FakeOpenAI, Faults, Script, say, tone
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bench.faulty import living
from bench.faulty.judge import Ending
from bench.faulty.kinds import OPENING
from bench.faulty.place import Tls, count_tasks_by_place, in_own_place, place, tls_files
from bench.faulty.points import Point
from bench.faulty.report import Report
from bench.faulty.scene import Scene
from bench.faulty.table import DEAD_AIR_BOUND, Cell, plans_of, run_plans

pytestmark = pytest.mark.whole

PATIENT = 2 * DEAD_AIR_BOUND  # a busy machine is not the relay's fault

# Points of a short call: greeting, the caller's farewell, goodbye (turn 2).
CELLS = [
    (Point(0, "session.created", 1), "hang"),
    (Point(0, "session.updated", 1), "close"),
    (Point(1, "response.output_audio.delta", 2), "reset"),
    (Point(1, "input_audio_buffer.speech_stopped", 1), "hang"),
    (Point(1, "response.created", 1), "garbage"),
    (Point(2, "response.output_audio.delta", 1), "error"),
    (Point(2, "response.output_audio.delta", 2), "expired"),
    (Point(2, "response.output_item.done", 2), "close"),
    (Point(1, "conversation.item.added", 1), "quota"),
    (Point(1, "response.output_audio.delta", 1), "reordered"),
]
# A model that lives nevertheless.
LIVING = [
    (Point(1, "response.done", 1), "odd"),
    (Point(1, "response.created", 1), "empty-filtered"),
    (Point(2, "response.created", 1), "empty"),
    (Point(2, "response.created", 1), "limited-twice"),
    (OPENING, "slow-0.7"),
]


@pytest.fixture(scope="module")
def tls() -> Iterator[Tls]:
    with tls_files() as tls:
        yield tls


async def short_calls(tls: Tls, cells: list[tuple[Point, str]]) -> list[Cell]:
    count_tasks_by_place()
    return await run_plans(tls, plans_of(cells, [point for point, _ in cells], short=True), len(cells))


async def test_whatever_the_model_does_the_caller_is_served_on_or_put_through_and_nothing_is_left(tls: Tls) -> None:
    cells = await short_calls(tls, CELLS)
    assert [cell for cell in cells if not cell.struck] == []
    assert [cell for cell in cells if not cell.ending.is_designed] == []
    assert [cell for cell in cells if cell.left] == []
    assert [cell for cell in cells if cell.figures.dead_air > PATIENT] == []
    endings = {cell.kind: cell.ending for cell in cells}
    assert (endings["error"], endings["quota"]) == (Ending.UNHARMED, Ending.SAFETY_NET)


async def test_a_model_that_lives_goes_on_with_the_call_and_every_answer_is_heard(tls: Tls) -> None:
    cells = await short_calls(tls, LIVING)
    assert [cell for cell in cells if not cell.struck] == []
    assert [cell for cell in cells if cell.ending not in (Ending.UNHARMED, Ending.WENT_ON)] == []
    assert [cell for cell in cells if cell.figures.lost or cell.figures.over_caller or cell.left] == []
    assert [cell for cell in cells if cell.figures.dead_air > PATIENT] == []


async def test_a_model_that_thinks_or_is_far_away_is_neither_talked_over_nor_given_up(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.faulty.runner.TRIES", 1)  # what goes wrong is seen at once
    count_tasks_by_place()
    usual, far = await asyncio.gather(
        living.usual(tls, 1, len(living.PROBES), 1, lambda spoken: None, questions=1),
        living.far(tls, 2, 2, 1, 0.6, lambda spoken: None),
    )
    held = [*usual.spoken, *far.spoken]
    assert [spoken for spoken in held if not spoken.said_goodbye or spoken.problems] == []
    assert [spoken for spoken in held if spoken.figures.lost or spoken.figures.over_caller] == []
    assert [spoken for spoken in usual.spoken if spoken.figures.clips] == []
    # Where probes are never answered, another session is opened beside, and may be the first to speak.
    assert [spoken for spoken in held if spoken.figures.given_up and spoken.setting != "never"] == []


async def test_a_task_that_a_call_leaves_behind_is_counted_as_that_calls(
    tls: Tls, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.faulty.place.TIDY_WITHIN", 0.5)  # it stays there for good
    scene = Scene(1)
    over = asyncio.Event()
    left: list[asyncio.Task[bool]] = []

    async def call() -> tuple[str, ...]:
        async with place(tls, FakeOpenAI(Script((say(tone(0.2)),)))) as here:
            opened = here.fake.notify

            async def leave_a_task() -> None:
                if not left:
                    left.append(asyncio.create_task(over.wait()))
                await opened()

            here.fake.notify = leave_a_task  # type: ignore[method-assign]
            return (await here.call(*scene.short_steps[:0])).left

    count_tasks_by_place()
    assert await in_own_place(call()) == ("task Event.wait",)
    over.set()
    await asyncio.gather(*left)


def test_a_section_of_the_results_takes_the_place_of_its_last_one_and_of_no_other(tmp_path) -> None:
    file = tmp_path / "FAULTS.md"
    for section, text in (("Interruptions", "first"), ("At each event", "table"), ("Interruptions", "second")):
        Report(section, "", text, {}, True).write(file)
    headings = re.findall("^## (.*)", file.read_text(), re.MULTILINE)
    assert headings == ["At each event", "Interruptions"]
    assert ("first" in file.read_text(), "second" in file.read_text()) == (False, True)


# Features of the fake OpenAI used for this.


async def to_the_end(fake: FakeOpenAI, *frames: str) -> tuple[list[dict], int | None]:
    """Send these frames to a new session, and return its events and close code."""
    events: list[dict] = []
    async with connect(f"{fake.url}?model=m", proxy=None) as websocket, asyncio.timeout(PATIENCE):
        for frame in frames:
            await websocket.send(frame)
        try:
            while True:
                events.append(json.loads(await websocket.recv()))
        except ConnectionClosed as closed:
            return events, closed.rcvd.code if closed.rcvd else None


async def test_a_fault_can_wait_for_a_turn_and_a_script_can_go_by_its_connection() -> None:
    def script(connection: Connection) -> Script:
        return Script((say(tone(0.1 * (connection.number + 1))), say(tone(0.1))), pace=SpeechPace(times=1000))

    pcmu = {"format": {"type": "audio/pcmu"}}
    update = {"type": "session.update", "session": {"type": "realtime", "audio": {"input": pcmu, "output": pcmu}}}
    respond = '{"type":"response.create"}'
    faults = Faults(at=(At("response.output_audio.delta", Close(1011), turn=2),))
    async with FakeOpenAI(script, faults, api_key=None) as fake:
        for size in (800, 1600):
            events, code = await to_the_end(fake, json.dumps(update), respond, respond)
            kinds = [event["type"] for event in events]
            deltas = [event["delta"] for event in events if event["type"] == "response.output_audio.delta"]
            assert (kinds.count("response.created"), code) == (2, 1011)
            assert [len(base64.b64decode(delta)) for delta in deltas] == [size]


async def test_a_session_ends_by_itself_when_it_is_old_enough() -> None:
    async with FakeOpenAI(api_key=None, session_seconds=0.1) as fake:
        events, code = await to_the_end(fake)
    assert [event["type"] for event in events] == ["session.created", "error"]
    assert (events[-1]["error"]["code"], code) == ("session_expired", 1001)
