"""Reading and writing recordings, voices, and comparing what was said with what was heard."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from callgate.peers.phone import correlate
from callgate.peers.phone.options import PhoneOptions
from callgate.peers.phone.simulation.hearing import is_audible, speech_bytes
from callgate.peers.phone.simulation.script import Interrupt, Speak, Wait
from callgate.peers.phone.voices import each_its_own, speeds
from callgate.peers.phone.wav import MAX_SECONDS, RecordingError, at_speed, decode, encode, read_ulaw, write_stereo

SECONDS = 0.25


def tone(rate: int, hertz: float = 440.0, seconds: float = SECONDS) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)).astype(np.float32)


def babble(seed: int, seconds: float = 0.5) -> np.ndarray:
    """Return noise with syllables, as different from any other seed's as speech is from other speech."""
    random = np.random.default_rng(seed)
    count = round(8000 * seconds)
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 5 * np.arange(count) / 8000)
    return (0.2 * random.standard_normal(count) * syllables).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 24000, 44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_any_rate_and_number_of_channels_becomes_ulaw_at_8_khz(tmp_path: Path, rate: int, channels: int) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, np.repeat(tone(rate)[:, None], channels, axis=1), rate)

    audio = read_ulaw(path)

    assert len(audio) == pytest.approx(8000 * SECONDS, abs=2)
    assert correlate.find(tone(8000)[400:-400], decode(audio)).correlation > 0.99


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"])
def test_any_sample_format_is_read(tmp_path: Path, subtype: str) -> None:
    path = tmp_path / "tone.wav"
    soundfile.write(path, tone(8000), 8000, subtype)
    assert correlate.find(tone(8000), decode(read_ulaw(path))).correlation > 0.99


def test_samples_beyond_full_scale_are_clipped_and_do_not_wrap_round() -> None:
    assert decode(encode(np.array([4.0, -4.0], np.float32))) == pytest.approx([0.98, -0.98], abs=0.01)


def test_silence_is_ff_and_every_ulaw_byte_survives_decoding() -> None:
    assert encode(np.zeros(4, np.float32)) == b"\xff" * 4
    every = bytes(byte for byte in range(256) if byte != 0x7F)  # 0x7F is another code for zero
    assert encode(decode(every)) == every


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "is not there"),
        (b"", "can't be read"),
        (b"RIFF but nothing else", "can't be read"),
        (b"x" * 99, "Name a WAV"),
    ],
)
def test_a_file_that_is_no_recording_gives_one_line(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "nonsense.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RecordingError, match=complaint) as caught:
        read_ulaw(path)
    assert "\n" not in str(caught.value)


def test_an_empty_an_endless_and_a_nonsensical_recording_are_refused(tmp_path: Path) -> None:
    for name, samples, rate in (
        ("empty", np.zeros(0, np.float32), 8000),
        ("endless", np.zeros(MAX_SECONDS * 50 + 1, np.float32), 50),
        ("nonsense", np.full(100, np.nan, np.float32), 8000),
    ):
        path = tmp_path / f"{name}.wav"
        soundfile.write(path, samples, rate, "FLOAT")
        with pytest.raises(RecordingError, match=name):
            read_ulaw(path)


def test_a_call_is_written_as_stereo_with_the_caller_left_and_the_agent_right(tmp_path: Path) -> None:
    path = tmp_path / "call.wav"
    write_stereo(path, b"\x80" * 100, b"\xff" * 100)
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getsampwidth()) == (2, 8000, 2)
        frames = np.frombuffer(file.readframes(100), "<i2").reshape(-1, 2)
    assert (frames[:, 0] > 30000).all()
    assert (frames[:, 1] == 0).all()


def test_a_recording_that_cannot_be_written_gives_one_line(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="can't be written"):
        write_stereo(tmp_path / "nowhere" / "call.wav", b"\xff", b"\xff")


def test_speech_ends_before_the_silence_at_the_end_of_a_recording() -> None:
    loud, silent = encode(tone(8000, seconds=0.1)), b"\xff" * 800
    assert is_audible(loud)
    assert not is_audible(silent)
    assert speech_bytes(loud + silent) == len(loud)
    assert speech_bytes(loud) == len(loud)
    assert speech_bytes(silent) == len(silent)


def test_each_of_several_callers_has_a_voice_of_its_own_and_one_alone_speaks_as_recorded() -> None:
    words = encode(babble(1))
    options = PhoneOptions(to="https://a.example/", auth_token="t", script=(Speak(words), Wait(1), Interrupt(words)))
    assert each_its_own(options, 1) == (options,)
    several = each_its_own(options, 5)
    assert len({one.script[0].audio for one in several}) == 5
    assert all(one.script[0].audio == one.script[2].audio for one in several)
    assert (speeds(5)[0], speeds(5)[-1]) == pytest.approx((1.0, 1.5))
    assert len(several[-1].script[0].audio) == pytest.approx(len(words) / 1.5, abs=2)


# Own words


@pytest.mark.parametrize("gain", [1.0, 0.3])
@pytest.mark.parametrize("before", [0, 1, 3333])
def test_a_copy_of_the_words_is_found_where_it_is_at_any_loudness(gain: float, before: int) -> None:
    words = babble(1)
    match = correlate.find(words, np.concatenate([np.zeros(before), gain * words, np.zeros(500)]).astype(np.float32))
    assert match.correlation > 0.999
    assert match.at == before


def test_other_words_silence_and_half_of_the_words_are_not_taken_for_the_words() -> None:
    words = babble(1)
    assert correlate.find(words, babble(2, 2.0)).correlation < 0.3
    assert correlate.find(words, np.zeros(8000, np.float32)).correlation == 0.0
    assert correlate.find(words, words[: len(words) // 2]).correlation < correlate.OWN_WORDS
    assert correlate.find(words, np.zeros(0, np.float32)).correlation == 0.0
    assert correlate.find(np.zeros(80, np.float32), words).correlation == 0.0


# Another caller's words


def heard_by(*words: np.ndarray) -> correlate.Voice:
    """Return the voice of a caller that said the first of ``words`` and heard all of them."""
    heard = np.concatenate([np.zeros(900, np.float32), *words])
    return correlate.Voice((words[0],), (heard,))


def test_callers_who_hear_only_themselves_have_no_trace_of_each_other() -> None:
    words = encode(babble(1, 1.0))
    voices = [heard_by(decode(at_speed(words, speed))) for speed in speeds(6)]
    assert min(match.correlation for voice in voices for match in correlate.own_words(voice)) > 0.999
    assert max(correlate.anothers_words(voices)) < 0.05


@pytest.mark.parametrize("loudness", [1.0, 0.6])
def test_another_callers_words_are_found_beside_ones_own(loudness: float) -> None:
    mine, yours = babble(1), babble(2)
    voices = [heard_by(mine, loudness * yours), heard_by(yours)]
    assert correlate.anothers_words(voices) == pytest.approx((loudness, 0.0), abs=0.06)


def test_a_neighbours_words_instead_of_ones_own_are_noticed() -> None:
    words = encode(babble(1, 1.0))
    mine, yours = (decode(at_speed(words, speed)) for speed in speeds(20)[9:11])
    swapped = correlate.Voice((mine,), heard_by(yours).heard)
    assert correlate.own_words(swapped)[0].correlation < correlate.OWN_WORDS
    assert correlate.anothers_words([swapped, heard_by(yours)])[0] > correlate.ANOTHERS_WORDS


def test_an_interrupted_reply_is_taken_out_as_far_as_it_was_heard() -> None:
    mine, yours = babble(1), babble(2)
    voices = [correlate.Voice((mine,), (np.concatenate([mine[:2000], np.zeros(4000, np.float32)]),)), heard_by(yours)]
    assert correlate.anothers_words(voices)[0] < 0.1
