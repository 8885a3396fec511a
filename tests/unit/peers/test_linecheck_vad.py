"""Turn detection of the line check: it keeps words whole despite noise, and always ends."""

from __future__ import annotations

import math
import random

import pytest
from callgate.core.wire.media_stream import FRAME_BYTES
from callgate.peers.linecheck.realtime.input_audio import (
    MAX_UTTERANCE_BYTES,
    InputAudioBuffer,
    SpeechBegan,
    SpeechEnded,
)
from callgate.peers.linecheck.realtime.session import TurnDetection
from callgate.peers.linecheck.realtime.vad import code_at, dbfs_at, level
from support.linecheck_driver import WORDS, silence


def noise(seconds: float, code: int, *, seed: int = 1) -> bytes:
    """Return noise whose magnitude codes lie around ``code``, of either sign."""
    chance = random.Random(seed)
    return bytes(
        (0x7F - max(min(round(chance.gauss(code, 6)), 127), 0)) | chance.choice((0x00, 0x80))
        for _ in range(round(seconds * 8_000))
    )


def feed(buffer: InputAudioBuffer, audio: bytes, size: int = FRAME_BYTES) -> list[SpeechBegan | SpeechEnded]:
    return [seen for start in range(0, len(audio), size) for seen in buffer.append(audio[start : start + size])]


def utterances(audio: bytes, turn_detection: TurnDetection | None = None) -> list[bytes]:
    seen = feed(InputAudioBuffer(turn_detection or TurnDetection()), audio)
    return [each.audio for each in seen if isinstance(each, SpeechEnded)]


def test_level_of_silence_is_0_and_of_full_scale_127() -> None:
    assert level(bytes([0xFF]) * 160) == level(bytes([0x7F]) * 160) == 0
    assert level(bytes([0x00]) * 160) == level(bytes([0x80]) * 160) == 127
    assert code_at(0) == pytest.approx(127, abs=1)
    assert dbfs_at(0) == -math.inf
    assert [dbfs_at(code_at(dbfs)) for dbfs in (-60, -20, 0)] == pytest.approx([-60, -20, 0])


@pytest.mark.parametrize("size", [1, 37, 160, 1_600, 100_000])
def test_utterance_holds_every_byte_of_the_words_however_they_are_appended(size: int) -> None:
    seen = feed(InputAudioBuffer(TurnDetection()), silence(1) + WORDS + silence(1), size)
    started, stopped = seen
    assert isinstance(started, SpeechBegan)
    assert isinstance(stopped, SpeechEnded)
    assert WORDS in stopped.audio
    assert len(stopped.audio) <= len(WORDS) + 8 * 700


def test_utterance_holds_every_byte_of_words_over_line_noise() -> None:
    background = noise(12, 12)
    [heard] = utterances(background + WORDS + background)
    assert WORDS in heard


def test_silence_and_line_noise_are_no_speech() -> None:
    assert feed(InputAudioBuffer(TurnDetection()), silence(5) + noise(30, 12) + silence(5)) == []


def test_click_is_no_speech() -> None:
    assert feed(InputAudioBuffer(TurnDetection()), silence(1) + bytes(2 * FRAME_BYTES) + silence(1)) == []


def test_pause_shorter_than_silence_duration_does_not_end_an_utterance() -> None:
    audio = silence(1) + WORDS + silence(0.3) + WORDS + silence(1)
    assert len(utterances(audio)) == 1
    assert len(utterances(audio, TurnDetection(silence_duration_ms=200))) == 2


def test_prefix_padding_is_kept_before_the_words() -> None:
    for prefix in (0, 300, 1_000):
        seen = feed(InputAudioBuffer(TurnDetection(prefix_padding_ms=prefix)), silence(2) + bytes(8_000) + silence(1))
        assert seen[0] == SpeechBegan(8 * (2_000 - prefix))


def test_threshold_tells_how_loud_speech_must_be() -> None:
    soft = silence(1) + noise(1, round(code_at(-44))) + silence(1)
    assert len(utterances(soft, TurnDetection(threshold=0.5))) == 1
    assert utterances(soft, TurnDetection(threshold=0.9)) == []


def test_steady_noise_is_answered_once_and_then_is_the_background() -> None:
    buffer = InputAudioBuffer(TurnDetection())
    fan = noise(60, 50)
    started, stopped = feed(buffer, fan)
    assert isinstance(started, SpeechBegan)
    assert isinstance(stopped, SpeechEnded)
    assert len(stopped.audio) < 8_000 * 5
    loud = noise(1, 110, seed=2)
    assert [type(seen) for seen in feed(buffer, loud + fan)] == [SpeechBegan, SpeechEnded]


def test_tone_of_two_seconds_is_heard_whole() -> None:
    tone = bytes(FRAME_BYTES) * 100
    [heard] = utterances(silence(1) + tone + silence(1))
    assert tone in heard


def test_speech_that_rises_and_falls_is_heard_whole_however_long() -> None:
    monologue = (WORDS + silence(0.2)) * 9
    [heard] = utterances(silence(1) + monologue + silence(1))
    assert monologue[: -round(8_000 * 0.2)] in heard


def test_endless_speech_is_cut_at_the_cap_and_does_not_interrupt_its_own_answer() -> None:
    buffer = InputAudioBuffer(TurnDetection())
    music = (noise(0.3, 90) + silence(0.2)) * 110  # 55 s, never with 500 ms of silence
    started, stopped = feed(buffer, music)
    assert isinstance(started, SpeechBegan)
    assert isinstance(stopped, SpeechEnded)
    assert len(stopped.audio) == MAX_UTTERANCE_BYTES
    assert [type(seen) for seen in feed(buffer, silence(1) + WORDS + silence(1))] == [SpeechBegan, SpeechEnded]


def test_buffer_stays_small_while_nobody_speaks() -> None:
    buffer = InputAudioBuffer(TurnDetection())
    feed(buffer, silence(120), size=8_000)
    assert len(buffer.commit()) <= 8 * 400
