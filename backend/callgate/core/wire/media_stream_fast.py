"""The frequent frames of a Media Stream, fifty a second each way, read and written without JSON. Pure: no I/O, no
clock.

`media_stream_json` gives the same results for them, and handles every other message.
"""

from __future__ import annotations

import re
from typing import Final

from .base64_text import is_base64
from .media_stream import FROM_TWILIO_LIMIT


class MediaCutter:
    """Extracts the contents of a call's frequent frames without parsing them, if they are formatted as Twilio writes
    them.

    Any other frame, even with just another order of keys, is left to `media_stream_json.parse_from_twilio`, which gives
    the same results for the frames read here: a `Media` of this stream's inbound track with this audio, or a `Mark` of
    this stream with this name.
    """

    def __init__(self, stream_sid: str) -> None:
        self._end = f'"}},"streamSid":"{stream_sid}"}}'.encode()
        self._begin = b""  # the previous media message's beginning, digits as zeros; the next one's is usually the same

    def cut(self, frame: bytes) -> bytes | None:
        """Return the base64 µ-law audio, or None if this is not such a media frame."""
        begin, end = self._begin, self._end
        if not begin or _with_zeros(frame[: len(begin)]) != begin:
            if (head := _MEDIA_HEAD(frame)) is None:
                return None
            begin = self._begin = _with_zeros(head[0])
        if frame[-len(end) :] != end or len(frame) > FROM_TWILIO_LIMIT:
            return None
        audio = frame[len(begin) : -len(end)]
        return audio if is_base64(audio) else None

    def cut_mark(self, frame: bytes) -> str | None:
        """Return the name of the mark that came back, or None if this is not such a mark frame."""
        if (head := _MARK_HEAD(frame)) is None or frame[head.end() :] != self._end:
            return None
        return head[1].decode()


_MARK_HEAD: Final = re.compile(
    rb'\{"event":"mark","sequenceNumber":"[0-9]{1,18}","mark":\{"name":"([0-9a-zA-Z_:]{1,64})'
).match
_MEDIA_HEAD: Final = re.compile(
    rb'\{"event":"media","sequenceNumber":"[0-9]{1,18}","media":'
    rb'\{"track":"inbound","chunk":"[0-9]{1,18}","timestamp":"[0-9]{1,18}","payload":"'
).match
_ZEROS: Final = bytes.maketrans(b"123456789", b"000000000")
_translate: Final = bytes.translate  # compiled, a module constant saves a look-up


def _with_zeros(text: bytes) -> bytes:
    return _translate(text, _ZEROS)


class MediaWriter:
    """Writes the frames that play audio on one stream. They are sent often, so they are written from a template."""

    def __init__(self, stream_sid: str) -> None:
        self._begin = f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"'.encode()

    def frame(self, payload: bytes) -> bytes:
        """Return the frame for this base64 µ-law audio."""
        return self._begin + payload + b'"}}'


def mark_frame(stream_sid: str, name: str) -> bytes:
    """Return the frame of a mark whose name needs no escaping."""
    return b'{"event":"mark","streamSid":"%b","mark":{"name":"%b"}}' % (stream_sid.encode(), name.encode())
