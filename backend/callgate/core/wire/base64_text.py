"""Base64 as it passes through a call: checked, measured and joined, and mostly not decoded. Pure."""

from __future__ import annotations

import binascii
from collections.abc import Iterable
from typing import Final

BASE64: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_PADDING: Final = ord("=")
_translate: Final = bytes.translate  # where this is compiled, a look-up less


def without(text: bytes, characters: bytes) -> bytes:
    """What is left of a text when these characters are taken out."""
    return _translate(text, None, characters)


def is_base64(text: bytes) -> bool:
    """Whether this is base64 and nothing else, and not empty."""
    if not text or len(text) % 4:
        return False
    padding = without(text, BASE64)
    return not padding or (padding in (b"=", b"==") and text.endswith(padding))


def decoded_bytes(base64: bytes) -> int:
    """How many bytes valid base64 holds, which is not empty."""
    size = len(base64) // 4 * 3
    if base64[-1] == _PADDING:
        size -= 2 if base64[-2] == _PADDING else 1
    return size


def joined(pieces: Iterable[bytes]) -> bytes:
    """Pieces of valid base64 as one, which need not be multiples of three bytes."""
    return binascii.b2a_base64(b"".join(map(binascii.a2b_base64, pieces)), newline=False)
