"""What the line check says: a recorded greeting, a beep, the caller's own words. Pure but for reading the recording."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files

from callgate.core.wire.media_stream import SAMPLE_RATE

from .realtime.pending_turn import ToAnswer
from .realtime.response import ScriptedResponse, Speech

GREETING_TEXT = "Hello. This is the Callgate line check. Say something, and hear it back."


def answer(turn: ToAnswer) -> ScriptedResponse:
    """The caller's own words when there are any; a beep for a typed item, such as a key pressed; else the greeting."""
    if turn.heard:
        return ScriptedResponse((Speech(turn.heard, describe(turn.heard)),))
    if turn.text is not None:
        return ScriptedResponse((Speech(beep(), "[beep]"),))
    return ScriptedResponse((Speech(greeting(), GREETING_TEXT),))


def describe(audio: bytes) -> str:
    """What stands for the transcript of the caller's words: the line check does not understand them, and says so."""
    return f"[{len(audio) / SAMPLE_RATE:.1f} s of the caller's own words; the line check makes no transcript]"


@cache
def greeting() -> bytes:
    """The recorded greeting, µ-law. How it was made: README.md beside this file."""
    return files(__package__).joinpath("greeting.ulaw").read_bytes()


@cache
def beep() -> bytes:
    """A fifth of a second of 800 Hz at -20 dBFS RMS, µ-law."""
    period = SAMPLE_RATE // 800
    wave = bytes(encode_sample(0.14 * math.sin(2 * math.pi * index / period)) for index in range(period))
    return wave * (SAMPLE_RATE // 5 // period)


def encode_sample(sample: float) -> int:
    """One sample in -1…1 as µ-law (ITU-T G.711): 14 bits biased by 33, kept as an exponent and four bits."""
    magnitude = min(round(abs(sample) * 8_159), 8_158) + 33
    exponent = magnitude.bit_length() - 6
    rest = (magnitude >> (exponent + 1)) & 0x0F
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | rest) & 0xFF
