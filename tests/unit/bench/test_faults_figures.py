"""How ``bench/faults`` judges a call: what the caller had to bear, from the recording and from what the fake sent."""

from __future__ import annotations

import base64
import math

import pytest
from callgate.core.wire.media_stream import FRAME_BYTES, SILENCE
from callgate.peers.phone.simulation.report import CallReport, Spoken, StreamClose
from callgate.peers.phone.simulation.timeline import Event
from support.fake_openai import Connection, FakeOpenAI, Received

from bench.faulty.clips import CLIP, clips, over_caller
from bench.faulty.figures import OPENING, answers_lost, dead_air, given_up
from bench.faulty.hearing import SOFT, Sentence, bytes_of, find, noise, silences, worst
from bench.faulty.judge import forgotten
from bench.faulty.kinds import ALL_KINDS, KINDS, chosen, odd_at, strikes
from bench.faulty.odd import ODD
from bench.faulty.place import Call
from bench.faulty.points import Point, points_of
from bench.faulty.scene import Scene
from bench.faulty.table import plans_of

WHOLE = Sentence("A whole sentence.", noise((1, 1), 0.4))
LAST = Sentence("Goodbye.", noise((1, 2), 0.2), leaves_turn=False)
WORDS = noise((1, 3), 0.2)
ZERO = 100.0  # when the call began, in the loop's time


def quiet(seconds: float) -> bytes:
    return bytes([SILENCE]) * round(seconds / 0.02) * FRAME_BYTES


def report_of(
    heard: bytes, said: bytes = b"", *, verbs: tuple[tuple[float, str], ...] = (), **words: Spoken
) -> CallReport:
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
        utterances=tuple(words.values()),
        first_audio=None,
        marks=0,
        clears=0,
    )


def words_at(seconds: float, *, audio: bytes = WORDS, interrupts: bool = False) -> Spoken:
    """Return an utterance that begins at this time."""
    ended = seconds + len(audio) / 8000
    return Spoken("question", audio, seconds, ended, round(seconds * 8000), None, interrupts, None, False)


# Silence and dead air.


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


def dead_air_in(report: CallReport, **own: float) -> float:
    return round(max(dead_air(report, [WHOLE, LAST], lambda name: own.get(name, 0.0))), 2)


def test_the_models_own_latency_is_no_dead_air() -> None:
    heard = WHOLE.audio + quiet(3.8) + WHOLE.audio
    report = report_of(heard, quiet(1.0) + WORDS, question=words_at(1.0))  # 1.2 s → 4.2 s
    assert dead_air_in(report) == 3.0
    assert dead_air_in(report, question=2.5) == 0.5
    assert dead_air_in(report, question=9.0) == 0.0
    assert dead_air_in(report, other=9.0) == 3.0


def test_a_clip_in_between_does_not_begin_the_models_latency_anew() -> None:
    clip = noise((1, 4), 0.4)
    heard = WHOLE.audio + quiet(2.2) + clip + quiet(2.0) + WHOLE.audio
    report = report_of(heard, quiet(1.0) + WORDS, question=words_at(1.0))  # 1.2 s → 2.6 s, 3.0 s → 5.0 s
    assert dead_air_in(report, question=2.5) == 1.3
    assert dead_air_in(report, question=1.0) == 2.0


def test_the_call_begins_with_a_latency_of_its_own() -> None:
    report = report_of(quiet(4.0) + WHOLE.audio)
    assert dead_air_in(report, **{OPENING: 3.0}) == 1.0


# The clip.


@pytest.mark.parametrize("shift", [0, 77])
def test_a_clip_is_found_wherever_it_is_and_also_a_part_of_it(shift: int) -> None:
    lead = quiet(1.0) + b"\xff" * shift
    [whole] = clips(lead + CLIP + quiet(1.0))
    assert abs(whole.began - len(lead)) < 1600
    [part] = clips(lead + CLIP[: len(CLIP) // 2] + quiet(1.0))
    assert part.ended < whole.ended
    assert len(clips(lead + CLIP + quiet(1.0) + CLIP)) == 2
    assert clips(lead + WHOLE.audio) == []


def test_a_clip_that_begins_while_the_caller_speaks_is_over_them_however_softly_they_speak() -> None:
    soft = noise((1, 5), 2.0, SOFT)
    heard = quiet(2.0) + CLIP + quiet(2.0)
    assert len(over_caller(report_of(heard, question=words_at(1.0, audio=soft)))) == 1
    assert over_caller(report_of(heard, question=words_at(4.0, audio=soft))) == []


def test_a_clip_over_which_the_caller_begins_to_speak_must_stop_when_the_model_has_noticed_them() -> None:
    long = noise((1, 6), 3.0)
    cut = report_of(quiet(1.0) + CLIP[:8000] + quiet(3.0), question=words_at(1.7, audio=long))
    whole = report_of(quiet(1.0) + CLIP + quiet(3.0), question=words_at(1.5, audio=long))
    assert over_caller(cut) == []
    assert len(over_caller(whole)) == 1
    assert over_caller(whole, late=1.0) == []


# Answers and sessions.


def session(number: int, sentence: Sentence, *, status: str = "completed", at: float = 1.0) -> Connection:
    """Return a session that said this sentence, and was done with it 0.1 s later."""
    connection = Connection(number, "m", {}, is_open=False, closed_at=ZERO + 9)
    delta = base64.b64encode(sentence.audio).decode()
    connection.sent.append({"type": "response.output_audio.delta", "response_id": "r", "item_id": "i", "delta": delta})
    connection.sent.append({"type": "response.done", "response": {"id": "r", "status": status}})
    connection.sent_at += [ZERO + at, ZERO + at + 0.1]
    return connection


def lost_in(heard: bytes, *sessions: Connection, dead_from: float | None = None, **words: Spoken) -> list[str]:
    fake = FakeOpenAI()
    fake.connections += sessions
    call = Call(report_of(heard + quiet(9), **words), ZERO, ())
    return answers_lost(call, fake, [WHOLE, LAST], dead_from=dead_from)


def test_an_answer_that_a_living_model_spoke_is_lost_if_it_is_not_heard_to_the_end() -> None:
    assert lost_in(quiet(1), session(0, WHOLE)) == [WHOLE.text]
    assert lost_in(WHOLE.audio[:-320], session(0, WHOLE)) == [WHOLE.text]
    assert lost_in(quiet(1) + WHOLE.audio, session(0, WHOLE)) == []
    assert lost_in(quiet(1) + WHOLE.audio, session(0, WHOLE), session(1, WHOLE)) == []  # one of them was heard


def test_an_answer_that_the_caller_interrupted_is_not_lost() -> None:
    half = quiet(1) + WHOLE.audio[:1600]
    assert lost_in(half, session(0, WHOLE, status="cancelled")) == []
    assert lost_in(half, session(0, WHOLE), question=words_at(1.2, interrupts=True)) == []
    assert lost_in(half, session(0, WHOLE), question=words_at(5.0)) == [WHOLE.text]


def test_of_a_model_that_failed_only_what_it_had_finished_is_expected() -> None:
    assert lost_in(quiet(1), session(0, WHOLE), dead_from=ZERO + 1.05) == []
    assert lost_in(quiet(1), session(0, WHOLE), dead_from=ZERO + 2.0) == [WHOLE.text]
    assert lost_in(quiet(1), session(1, WHOLE), dead_from=ZERO + 1.05) == [WHOLE.text]


def test_a_session_that_served_and_lived_is_given_up_if_the_call_goes_on_with_another() -> None:
    def given_up_of(heard: bytes, *sessions: Connection, dead_from: float | None = None) -> int:
        fake = FakeOpenAI()
        fake.connections += sessions
        return given_up(Call(report_of(heard + quiet(12)), ZERO, ()), fake, dead_from)

    def to_the_end(number: int) -> Connection:
        connection = session(number, WHOLE)
        connection.closed_at = ZERO + 20
        return connection

    heard = WHOLE.audio + LAST.audio
    ended = session(0, WHOLE)
    ended.ended_by_fake = True
    assert given_up_of(heard, to_the_end(0), session(1, LAST)) == 1
    assert given_up_of(WHOLE.audio, to_the_end(0), session(1, LAST)) == 0  # it never served
    assert given_up_of(heard, session(0, WHOLE), to_the_end(1)) == 1
    assert given_up_of(heard, ended, to_the_end(1)) == 0
    assert given_up_of(heard, session(0, WHOLE), to_the_end(1), dead_from=ZERO + 1) == 0
    assert given_up_of(heard, session(0, WHOLE)) == 0  # the call's end, which the phone noticed late


def follower_of(scene: Scene, *told: str) -> tuple[Call, FakeOpenAI]:
    """Return a call in which the greeting was heard and the first session lost; the second session was told
    ``told``."""
    fake = FakeOpenAI(scene.script)
    second = Connection(1, "m", {})
    first = Connection(0, "m", {})
    first.sent.append({"type": "response.output_audio_transcript.done", "transcript": scene.greeting.text})
    first.sent_at.append(ZERO + 0.3)
    fake.connections += [first, second]
    items = [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]} for text in told]
    second.received += [{"type": "conversation.item.create", "item": item} for item in items]
    second.received.append({"type": "response.create"})
    fake.events_received += [Received(ZERO + 9, 1, event) for event in second.received]
    return Call(report_of(quiet(0.5) + scene.greeting.audio + quiet(8.1)), ZERO, ()), fake


def test_a_session_that_is_not_told_what_the_caller_heard_has_forgotten_it() -> None:
    scene = Scene(1)

    def missing(*told: str, struck_at: float = math.inf) -> Sentence | None:
        call, fake = follower_of(scene, *told)
        return forgotten(call, fake, scene, struck_at, fake.connections[1:])

    assert missing() is scene.greeting
    assert missing(scene.question.text) is scene.greeting
    assert missing(scene.greeting.text) is None
    assert missing(struck_at=ZERO + 0.2) is None  # no session had sent its text


def test_how_much_of_a_sentence_was_heard_is_known_to_the_byte() -> None:
    recording = quiet(0.1) + WHOLE.audio[:1000] + quiet(0.1) + WHOLE.audio[1000:]
    assert find(WHOLE.audio, recording) == (800, 1000)
    assert find(LAST.audio, recording) == (0, 0)
    assert bytes_of(LAST.audio, recording) == 0
    assert bytes_of(WHOLE.audio[1000:], recording) == len(WHOLE.audio) - 1000


# Where which kind strikes.


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


def test_a_response_without_an_answer_takes_the_place_of_a_response_and_a_slow_model_is_slow_from_there() -> None:
    created, delta = Point(2, "response.created", 1), Point(2, "response.output_audio.delta", 1)
    opening = Point(0, "session.created", 1)
    assert [strikes("empty", point) for point in (opening, created, delta)] == [False, True, False]
    assert [strikes("slow-3", point) for point in (opening, created, delta)] == [True, True, False]
    assert [strikes("odd", point) for point in (opening, created, delta)] == [True, True, True]


def test_a_name_means_a_kind_or_all_its_variants() -> None:
    assert chosen(["slow", "close"]) == ("slow-0.7", "slow-1.5", "slow-3", "close")
    assert chosen(["empty-cut"]) == ("empty-cut",)
    assert set(ALL_KINDS) == set(KINDS) - {"expired", "quota"}
    with pytest.raises(KeyError):
        chosen(["slo"])


def test_the_odd_messages_are_divided_among_the_points_and_half_of_the_callers_are_soft() -> None:
    points = [Point(1, f"event {number}", 1) for number in range(40)]
    assert {odd_at(point, points)[0] for point in points} == set(ODD)
    plans = plans_of([(point, kind) for point in points for kind in ("close", "hang", "odd")], points)
    for kind in ("close", "hang", "odd"):
        assert sum(plan.soft for plan in plans if plan.kind == kind) == 20
