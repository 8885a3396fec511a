"""A model that fails in the middle of a call: some of the calls of ``bench/faults``, and how they are judged."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import re
from collections.abc import Iterator

import pytest
from callgate.core.wire.media_stream import FRAME_BYTES, SILENCE
from callgate.peers.linecheck.realtime.response import SpeechPace
from callgate.peers.phone.simulation.report import CallReport, StreamClose
from callgate.peers.phone.simulation.timeline import Event
from support.fake_openai import PATIENCE, At, Close, Connection, FakeOpenAI, Faults, Received, Script, say, tone
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from bench.faulty.hearing import Sentence, bytes_of, find, noise, silences, worst
from bench.faulty.place import Call, Tls, count_tasks_by_place, in_own_place, place, tls_files
from bench.faulty.points import Point, points_of
from bench.faulty.report import Report
from bench.faulty.scene import Scene
from bench.faulty.table import SILENCE_BOUND, Ending, forgotten, run_cells

pytestmark = pytest.mark.whole

PATIENT = 2 * SILENCE_BOUND  # a busy machine is not the relay's fault

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
]


@pytest.fixture(scope="module")
def tls() -> Iterator[Tls]:
    with tls_files() as tls:
        yield tls


async def test_whatever_the_model_does_the_caller_is_served_on_or_put_through_and_nothing_is_left(tls: Tls) -> None:
    count_tasks_by_place()
    cells = await run_cells(tls, CELLS, len(CELLS), short=True)
    assert [cell for cell in cells if not cell.struck] == []
    assert [cell for cell in cells if not cell.ending.is_designed] == []
    assert [cell for cell in cells if cell.left] == []
    assert [cell for cell in cells if cell.silence > PATIENT] == []
    endings = {cell.kind: cell.ending for cell in cells}
    assert (endings["error"], endings["quota"]) == (Ending.UNHARMED, Ending.SAFETY_NET)


# How a call is judged.

WHOLE = Sentence("A whole sentence.", noise((1, 1), 0.4))
LAST = Sentence("Goodbye.", noise((1, 2), 0.2), leaves_turn=False)
WORDS = noise((1, 3), 0.2)


def quiet(seconds: float) -> bytes:
    return bytes([SILENCE]) * round(seconds / 0.02) * FRAME_BYTES


def report_of(heard: bytes, said: bytes = b"", *, verbs: tuple[tuple[float, str], ...] = ()) -> CallReport:
    """Return the report of a call answered at 0, whose stream began at once and was closed at its end."""
    over = len(heard) / 8000
    return CallReport(
        call_sid="CA0",
        ended="dialled",
        seconds=over,
        events=(Event(0.0, "twiml", ""), *(Event(at, "verb", "", {"verb": verb}) for at, verb in verbs)),
        promises=(),
        errors=(),
        twiml_documents=(),
        verbs=(),
        stream_sids=("MZ0",),
        closes=(StreamClose("app", 1000, "", over, "MZ0"),),
        said=said.ljust(len(heard), bytes([SILENCE])),
        heard=heard,
        audio_began=0.0,
        utterances=(),
        first_audio=None,
        marks=0,
        clears=0,
    )


def silence_in(heard: bytes, said: bytes = b"", **more: object) -> float:
    return round(worst(silences(report_of(heard, said, **more), [WHOLE, LAST])), 2)  # type: ignore[arg-type]


def test_a_caller_who_was_left_the_turn_is_owed_nothing_until_they_have_spoken() -> None:
    assert silence_in(WHOLE.audio + quiet(5)) == 0
    assert silence_in(WHOLE.audio + quiet(1.5) + WHOLE.audio, quiet(0.5) + WORDS) == 1.2 - 0.4 + 0.4


def test_a_caller_is_owed_the_first_word_the_rest_of_a_sentence_and_the_end_of_the_call_after_goodbye() -> None:
    assert silence_in(quiet(0.6) + WHOLE.audio) == 0.6
    half = FRAME_BYTES * 10
    assert silence_in(WHOLE.audio[:half] + quiet(0.8) + WHOLE.audio[half:]) == 0.8
    assert silence_in(LAST.audio + quiet(3)) == 3


def test_a_sound_ends_a_silence_though_it_is_no_sentence_and_what_is_below_hearing_does_not() -> None:
    half = WHOLE.audio[: FRAME_BYTES * 10]
    assert silence_in(half + quiet(0.4) + WORDS + quiet(0.6) + WHOLE.audio) == 0.6
    assert silence_in(half + b"\xfe\x7e" * 4000 + WHOLE.audio) == 1


def test_a_twiml_verb_that_is_heard_ends_a_silence() -> None:
    half = WHOLE.audio[: FRAME_BYTES * 10]
    assert silence_in(half + quiet(0.3), verbs=((1.2, "Redirect"), (1.2, "Say"), (1.2, "Dial"))) == 1.0


def follower_of(scene: Scene, *told: str) -> tuple[Call, FakeOpenAI]:
    """Return a call in which the greeting was heard and the first session lost; the second session was told
    ``told``."""
    fake = FakeOpenAI(scene.script)
    second = Connection(1, "m", {})
    first = Connection(0, "m", {})
    first.sent.append({"type": "response.output_audio_transcript.done", "transcript": scene.greeting.text})
    first.sent_at.append(100.3)
    fake.connections += [first, second]
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]} for text in told]
    second.received += [{"type": "conversation.item.create", "item": item} for item in items]
    second.received.append({"type": "response.create"})
    fake.events_received += [Received(100 + 9, 1, event) for event in second.received]
    return Call(report_of(quiet(0.5) + scene.greeting.audio + quiet(8.1)), 100, ()), fake


def test_a_session_that_is_not_told_what_the_caller_heard_has_forgotten_it() -> None:
    scene = Scene(1)
    assert forgotten(*follower_of(scene), scene=scene, struck_at=math.inf) is scene.greeting
    assert forgotten(*follower_of(scene, scene.question.text), scene=scene, struck_at=math.inf) is scene.greeting
    assert forgotten(*follower_of(scene, scene.greeting.text), scene=scene, struck_at=math.inf) is None
    assert forgotten(*follower_of(scene), scene=scene, struck_at=100.2) is None  # no session had sent its text


def test_how_much_of_a_sentence_was_heard_is_known_to_the_byte() -> None:
    recording = quiet(0.1) + WHOLE.audio[:1000] + quiet(0.1) + WHOLE.audio[1000:]
    assert find(WHOLE.audio, recording) == (800, 1000)
    assert find(LAST.audio, recording) == (0, 0)
    assert bytes_of(LAST.audio, recording) == 0
    assert bytes_of(WHOLE.audio[1000:], recording) == len(WHOLE.audio) - 1000


def test_every_event_of_a_call_is_a_point_but_only_three_of_a_turns_deltas() -> None:
    def event(kind: str) -> dict:
        return {"type": kind, "response": {"status": "completed"}}

    kinds = ["session.created", "response.created", *["response.output_audio.delta"] * 5, "response.done"]
    found = points_of(event(kind) for kind in [*kinds, *kinds[1:]])
    assert [(point.turn, point.nth) for point in found if "delta" in point.event] == [
        (1, 1), (1, 3), (1, 5), (2, 1), (2, 3), (2, 5),
    ]  # fmt: skip
    assert [str(point) for point in found if point.event == "response.done"] == [
        "greeting: response.done",
        "answer: response.done",
    ]


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
