"""Whether a piece of the caller's audio is as loud as speech, or silent. Pure, and cheap enough for every frame.

This has no influence on what is heard. It tells when to check whether a silent model is still alive: the model's own
voice detection decides about turns, and is gone when the model is.

The audio is not decoded for this. The first of every four base64 characters holds the high six bits of a byte: of every
third sample, its sign and the five high bits of its magnitude, which is enough.
"""

from __future__ import annotations

from typing import Final

from callgate.core.wire.base64_text import BASE64, without

# µ-law bytes are inverted; once that is undone, their low seven bits grow with the magnitude, sixteen steps per
# segment. From the fourth segment on, a sample is louder than about -31 dBFS. A character has the first five of these
# seven bits.
_LOUDEST_QUIET: Final = 3 * 16 >> 2
_QUIET: Final = bytes(character for bits, character in enumerate(BASE64) if (~bits & 0x1F) < _LOUDEST_QUIET)
# From the second segment on, it is louder than about -43 dBFS, as somebody who speaks softly.
_LOUDEST_SILENCE: Final = 16 >> 2
_SILENCE: Final = bytes(character for bits, character in enumerate(BASE64) if (~bits & 0x1F) < _LOUDEST_SILENCE)
_SHARE: Final = 4  # a quarter of the samples must be louder


def is_loud(audio: bytes) -> bool:
    """Whether this base64 µ-law audio is as loud as somebody speaking into a telephone."""
    samples = audio[::4]
    return len(without(samples, _QUIET)) * _SHARE > len(samples)


def is_silence(audio: bytes) -> bool:
    """Whether this base64 µ-law audio has not even soft speech in it."""
    samples = audio[::4]
    return len(without(samples, _SILENCE)) * _SHARE <= len(samples)
