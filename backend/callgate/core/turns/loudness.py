"""Whether a piece of the caller's audio is speech-like loud. Pure, and cheap enough for every frame.

It decides nothing that is heard. It tells when to ask a model that is silent whether it is still there: the model's own
voice detection decides about turns, and is gone when the model is.

The audio is not decoded for that. Of four characters of base64 the first holds the high six bits of a byte: of every
third sample, its sign and its magnitude's five high bits, which is enough.
"""

from __future__ import annotations

from typing import Final

from callgate.core.wire.base64_text import BASE64, without

# µ-law bytes are inverted; their low seven bits then grow with the magnitude, sixteen steps a segment. From the fourth
# segment on a sample is louder than about -31 dBFS. Of these seven bits a character has the first five.
_LOUDEST_QUIET: Final = 3 * 16 >> 2
_QUIET: Final = bytes(character for bits, character in enumerate(BASE64) if (~bits & 0x1F) < _LOUDEST_QUIET)
_SHARE: Final = 4  # a quarter of the samples must be louder


def is_loud(audio: bytes) -> bool:
    """Whether this µ-law audio, in base64, is as loud as somebody who speaks into a telephone."""
    samples = audio[::4]
    return len(without(samples, _QUIET)) * _SHARE > len(samples)
