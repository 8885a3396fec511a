"""What the line check says: a recorded greeting, a beep, or the caller's own words. Pure, but it reads a file."""

from __future__ import annotations

import math
from functools import cache
from importlib.resources import files

from callgate.core.wire.media_stream import SAMPLE_RATE

from .realtime.pending_turn import ToAnswer
from .realtime.response import ScriptedResponse, Speech

GREETING_TEXT = "Hello. This is the Callgate line check. Say something, and hear it back."


def answer(turn: ToAnswer) -> ScriptedResponse:
    """Return the caller's own words if any, a beep for a text item (such as a pressed key), or the greeting."""
    if turn.heard:
        return ScriptedResponse((Speech(turn.heard, describe(turn.heard)),))
    if turn.text is not None:
        return ScriptedResponse((Speech(beep(), "[beep]"),))
    return ScriptedResponse((Speech(greeting(), GREETING_TEXT),))


def describe(audio: bytes) -> str:
    """Return a placeholder for the transcript of the caller's words, which the line check does not understand."""
    return f"[{len(audio) / SAMPLE_RATE:.1f} s of the caller's own words; the line check makes no transcript]"


@cache
def greeting() -> bytes:
    """Return the recorded greeting, µ-law. README.md beside this file says how it was made."""
    return files(__package__).joinpath("greeting.ulaw").read_bytes()


@cache
def beep() -> bytes:
    """Return a fifth of a second of 800 Hz at -20 dBFS RMS, µ-law."""
    period = SAMPLE_RATE // 800
    wave = bytes(encode_sample(0.14 * math.sin(2 * math.pi * index / period)) for index in range(period))
    return wave * (SAMPLE_RATE // 5 // period)


def encode_sample(sample: float) -> int:
    """Encode a sample in -1…1 as µ-law (ITU-T G.711): 14 bits biased by 33, as an exponent and four bits."""
    magnitude = min(round(abs(sample) * 8_159), 8_158) + 33
    exponent = magnitude.bit_length() - 6
    rest = (magnitude >> (exponent + 1)) & 0x0F
    return ~((0x80 if sample < 0 else 0) | exponent << 4 | rest) & 0xFF
