"""Whether a piece of the caller's audio is speech-like loud. Pure, and cheap enough for every frame.

It decides nothing that is heard. It tells when to ask a model that is silent whether it is still there: the model's own
voice detection decides about turns, and is gone when the model is.
"""

from __future__ import annotations

# µ-law bytes are inverted; their low seven bits then grow with the magnitude, sixteen steps a segment. From the fourth
# segment on a sample is louder than about -31 dBFS.
_LOUDEST_QUIET = 3 * 16
_QUIET = bytes(byte for byte in range(256) if (~byte & 0x7F) < _LOUDEST_QUIET)
_SHARE = 4  # a quarter of the samples must be louder


def is_loud(audio: bytes) -> bool:
    """Whether this µ-law audio is as loud as somebody who speaks into a telephone."""
    return len(audio.translate(None, _QUIET)) * _SHARE > len(audio)
