import base64

import pytest
from callgate.core.turns.loudness import is_loud
from support.fake_openai import tone


def quieter(audio: bytes, by: int) -> bytes:
    """Return µ-law audio made quieter in steps of six decibels, each of which is one segment."""
    return bytes(0x80 & byte | (0x7F - max(0, (0x7F & ~byte) - 16 * by)) for byte in audio)


@pytest.mark.parametrize(("by", "loud"), [(0, True), (1, True), (4, False), (6, False)])
def test_speech_is_loud_and_the_noise_of_a_line_is_not(by, loud):
    for at in range(0, 1600, 160):
        frame = quieter(tone(0.2, 300), by)[at : at + 160]
        assert is_loud(base64.b64encode(frame)) == loud


@pytest.mark.parametrize("audio", [b"\xff" * 160, b"\x7f" * 160, b"\xfe\x7e" * 80, b""])
def test_silence_is_not_loud(audio):
    assert not is_loud(base64.b64encode(audio))
