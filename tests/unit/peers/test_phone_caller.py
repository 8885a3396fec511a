"""The caller and its line, on their own clock: every tick is 20 ms, and nothing waits."""

from __future__ import annotations

import base64
import json

import pytest
from callgate.core.wire.media_stream import (
    FRAME_BYTES,
    FRAME_SECONDS,
    Clear,
    Dtmf,
    FromTwilio,
    Mark,
    Media,
    Start,
    Stop,
)
from callgate.core.wire.media_stream_json import encode_to_twilio
from callgate.peers.phone.simulation.caller import Caller
from callgate.peers.phone.simulation.line import Line, Recording, make_start
from callgate.peers.phone.simulation.script import Digits, Hold, Interrupt, Speak, Step, Wait
from callgate.peers.phone.simulation.timeline import Timeline

SIDS = ("MZ" + 32 * "1", "AC" + 32 * "2", "CA" + 32 * "3")
WORDS = b"\x20" * 10 * FRAME_BYTES  # 0.2 s, loud
QUIET = 0.1
REPLY_WITHIN = 1.0


class Scene:
    """A caller on a line, and an app that the test acts out."""

    def __init__(self, *script: Step, greeted: bool = False, wait_clip: bytes = b"") -> None:
        self.timeline = Timeline()
        self.recording = Recording()
        self.caller = Caller(
            script,
            self.timeline,
            greeted=greeted,
            quiet_seconds=QUIET,
            reply_within=REPLY_WITHIN,
            wait_clip=wait_clip,
        )
        self.now = 0.0
        self.sent: list[FromTwilio] = []
        self.connect()

    def connect(self) -> None:
        self.line = Line(make_start(SIDS, {"a": "b"}), self.caller, self.recording, self.timeline)
        self.sent += self.line.begin(self.now)

    def app(self, message: Media | Mark | Clear) -> None:
        self.line.receive(encode_to_twilio(message), self.now)

    def play(self, seconds: float, byte: int = 0x30) -> None:
        audio = bytes([byte]) * round(seconds * 8000)
        self.app(Media(SIDS[0], base64.b64encode(audio).decode()))

    def run(self, seconds: float) -> list[FromTwilio]:
        """Let time pass, and return what was sent."""
        before = len(self.sent)
        for _ in range(round(seconds / FRAME_SECONDS)):
            if self.line.hung_up:
                break
            self.now += FRAME_SECONDS
            self.sent += self.line.tick(self.now)
        return self.sent[before:]

    def said(self) -> bytes:
        """What the caller has said so far, without the silence."""
        return bytes(self.recording.said).replace(b"\xff", b"")


def loud(messages: list[FromTwilio]) -> int:
    """Return the number of frames with speech."""
    return sum(1 for message in messages if isinstance(message, Media) and message.payload[:4] == "ICAg")


def test_frames_are_numbered_and_timed_as_twilio_does() -> None:
    scene = Scene(Wait(1))
    start = scene.sent[1]
    media = [message for message in scene.run(0.1) if isinstance(message, Media)]
    assert isinstance(start, Start)
    assert (start.sequence_number, start.custom_parameters) == (1, {"a": "b"})
    assert [m.sequence_number for m in media] == [2, 3, 4, 5, 6]
    assert [(m.chunk, m.timestamp) for m in media] == [(1, 0), (2, 20), (3, 40), (4, 60), (5, 80)]
    assert {m.payload for m in media} == {base64.b64encode(b"\xff" * FRAME_BYTES).decode()}


def test_the_caller_waits_for_the_greeting_and_until_the_agent_is_quiet() -> None:
    scene = Scene(Speak(WORDS), greeted=True)
    assert loud(scene.run(0.5)) == 0
    scene.play(0.3)
    assert loud(scene.run(0.3)) == 0
    assert loud(scene.run(QUIET - FRAME_SECONDS)) == 0
    assert loud(scene.run(0.3)) == 10
    assert scene.caller.greeting_heard


def test_without_a_greeting_the_caller_speaks_at_once() -> None:
    assert loud(Scene(Speak(WORDS)).run(0.2)) == 10


def test_a_greeting_that_never_comes_holds_the_caller_up_only_so_long() -> None:
    scene = Scene(Speak(WORDS), greeted=True)
    assert loud(scene.run(REPLY_WITHIN - 0.1)) == 0
    assert loud(scene.run(0.4)) == 10
    assert not scene.caller.greeting_heard


def test_the_caller_hears_the_reply_out_and_then_hangs_up() -> None:
    scene = Scene(Speak(WORDS))
    scene.run(0.3)
    scene.play(0.2)
    assert not any(isinstance(message, Stop) for message in scene.run(0.2 + QUIET - FRAME_SECONDS))
    assert isinstance(scene.run(0.1)[-1], Stop)
    assert scene.caller.utterances[0].latency == pytest.approx(0.12, abs=0.021)
    assert scene.caller.remaining == 0


def test_sound_from_before_the_end_of_the_words_is_not_their_reply() -> None:
    scene = Scene(Speak(WORDS))
    scene.run(0.1)
    scene.play(0.3)  # queued while the caller speaks, played beyond its last word
    scene.run(0.5)
    assert scene.caller.utterances[0].latency is None


def test_silence_is_not_a_reply() -> None:
    scene = Scene(Speak(WORDS))
    scene.run(0.3)
    scene.play(0.3, byte=0xFF)
    scene.run(0.4)
    assert scene.caller.utterances[0].latency is None


def test_a_clip_that_asks_to_wait_is_neither_a_greeting_nor_a_reply_and_is_not_interrupted() -> None:
    scene = Scene(Speak(WORDS), Interrupt(WORDS, after=0.1), greeted=True, wait_clip=b"\x28" * 1600)
    scene.play(0.2, byte=0x28)
    scene.run(0.5)
    assert not scene.caller.greeting_heard
    scene.play(0.1)
    scene.run(0.5)
    scene.play(0.2, byte=0x28)
    scene.run(0.4)
    assert scene.caller.utterances[0].latency is None
    scene.play(0.2, byte=0x28)
    scene.run(0.12)
    scene.play(0.3)
    scene.run(0.18)
    assert scene.caller.utterances[0].latency is not None
    assert len(scene.caller.utterances) == 1
    scene.run(0.1)
    assert scene.caller.utterances[1].words.name == "words"
    assert isinstance(scene.caller.utterances[1].words, Interrupt)


def test_a_reply_that_never_comes_is_missed_and_the_caller_goes_on() -> None:
    scene = Scene(Speak(WORDS), Speak(WORDS))
    scene.run(0.2 + REPLY_WITHIN + 0.3)
    assert scene.caller.utterances[0].missed
    assert len(scene.caller.utterances) == 2


def test_the_reply_is_timed_from_the_last_word_and_not_from_the_silence_recorded_after_it() -> None:
    scene = Scene(Speak(WORDS + b"\xff" * 8000))
    scene.run(0.3)
    scene.play(0.1)
    scene.run(0.1)
    assert scene.caller.utterances[0].latency == pytest.approx(0.12, abs=0.021)


def test_an_interruption_begins_so_far_into_the_agents_speech_and_its_clear_is_timed() -> None:
    scene = Scene(Interrupt(WORDS, after=0.4))
    scene.play(3.0)
    assert loud(scene.run(0.4)) == 0
    assert loud(scene.run(0.1)) == 5
    scene.app(Clear(SIDS[0]))
    scene.run(0.3)
    scene.play(0.2)
    scene.run(1.0)
    utterance = scene.caller.utterances[0]
    assert utterance.cleared is not None
    assert utterance.cleared - utterance.began == pytest.approx(0.08, abs=0.021)
    assert not utterance.talked_over
    assert utterance.replied is not None


def test_an_agent_that_speaks_on_over_the_caller_is_noticed() -> None:
    scene = Scene(Interrupt(WORDS, after=0.1))
    scene.play(1.0)
    scene.run(1.5)
    assert scene.caller.utterances[0].talked_over


def test_an_agent_that_ends_before_the_callers_words_do_was_not_speaking_over_it() -> None:
    scene = Scene(Interrupt(WORDS, after=0.1))
    scene.play(0.2)
    scene.run(1.5)
    assert not scene.caller.utterances[0].talked_over


def test_with_nothing_to_interrupt_the_caller_gives_up_and_says_why() -> None:
    scene = Scene(Interrupt(WORDS, after=0.4))
    scene.play(0.2)
    scene.run(REPLY_WITHIN + 0.5)
    assert scene.caller.utterances == []
    assert scene.caller.unmet == ["no speech lasted 0.4 s to interrupt it"]


def test_keys_are_pressed_one_after_the_other_when_the_agent_is_quiet() -> None:
    scene = Scene(Digits("1#"), Wait(0.2), greeted=True)
    scene.play(0.2)
    assert not any(isinstance(message, Dtmf) for message in scene.run(0.2))
    assert [m.digit for m in scene.run(1.0) if isinstance(m, Dtmf)] == ["1", "#"]


def test_hold_stays_until_the_far_end_closes() -> None:
    scene = Scene(Hold())
    assert not any(isinstance(message, Stop) for message in scene.run(30))
    assert scene.caller.remaining == 0


def test_marks_come_back_in_order_and_when_clear_empties_the_buffer() -> None:
    scene = Scene(Wait(5))
    scene.play(0.1)
    scene.app(Mark(SIDS[0], "one"))
    scene.play(5)
    scene.app(Mark(SIDS[0], "two"))
    assert [m.name for m in scene.run(0.2) if isinstance(m, Mark)] == ["one"]
    scene.app(Clear(SIDS[0]))
    sent = scene.run(0.1)
    assert [m.name for m in sent if isinstance(m, Mark)] == ["two"]
    numbers = [m.sequence_number for m in scene.sent[1:]]  # type: ignore[union-attr]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x00\x01", 31950),
        ("not json", 31950),
        ("[]", 31951),
        (json.dumps({"event": "media", "streamSid": "MZ" + 32 * "9", "media": {"payload": "/w=="}}), 31951),
        (json.dumps({"event": "media", "streamSid": SIDS[0], "media": {"payload": "not base64"}}), 31951),
        (json.dumps({"event": "stop", "streamSid": SIDS[0]}), 31951),
    ],
)
def test_a_frame_that_twilio_does_not_take_is_noted_and_the_stream_goes_on(frame: str | bytes, code: int) -> None:
    scene = Scene(Wait(1))
    scene.line.receive(frame, scene.now)
    assert [error.code for error in scene.line.errors] == [code]
    assert len(scene.run(0.1)) == 5


def test_a_flood_of_bad_frames_does_not_fill_the_memory() -> None:
    scene = Scene(Wait(1))
    for _ in range(1000):
        scene.line.receive("x", 0.0)
    assert len(scene.line.errors) == 100
    assert scene.line.errors_dropped == 900


def test_more_than_ten_minutes_of_audio_is_an_overflow() -> None:
    scene = Scene(Wait(1))
    for _ in range(11):
        scene.play(60)
    assert [error.code for error in scene.line.errors] == [31931]


def test_both_sides_are_recorded_in_step() -> None:
    scene = Scene(Speak(WORDS))
    scene.play(0.2)
    scene.run(0.6)
    assert scene.said() == WORDS
    assert bytes(scene.recording.heard).replace(b"\xff", b"") == b"\x30" * 1600
    assert len(scene.recording.said) == len(scene.recording.heard)


# A second stream of the same call


def test_words_that_a_lost_stream_cut_off_are_said_again() -> None:
    scene = Scene(Speak(WORDS))
    scene.run(0.1)
    scene.now += 0.5
    scene.connect()
    scene.run(0.2)
    assert len(scene.caller.utterances) == 1
    assert scene.said().endswith(WORDS)
    assert len(scene.recording.said) == len(scene.recording.heard) == 8000 * 0.8


def test_an_unanswered_utterance_is_answered_on_the_next_stream_and_not_said_again() -> None:
    scene = Scene(Speak(WORDS + b"\xff" * 4000))
    scene.run(0.3)
    scene.connect()
    scene.play(0.2)
    scene.run(0.4)
    assert scene.caller.utterances[0].replied is not None
    assert scene.said() == WORDS
    assert scene.caller.done
