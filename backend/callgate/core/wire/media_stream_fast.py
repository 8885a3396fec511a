"""The frequent frames of a Media Stream, cut and written without JSON: fifty a second each way. Pure: no I/O, no clock.

`media_stream_json` says the same of them, and reads and writes every other message.
"""

from __future__ import annotations

import re
from typing import Final

from .base64_text import is_base64
from .media_stream import FROM_TWILIO_LIMIT


class MediaCutter:
    """What a call's frequent frames hold, without parsing them, where they are as Twilio writes them.

    Anything else, be it only another order of keys, is left to `media_stream_json.parse_from_twilio`, which says the
    same of what is cut here: a `Media` of this stream's inbound track with this audio, a `Mark` of this stream's with
    this name.
    """

    def __init__(self, stream_sid: str) -> None:
        self._end = f'"}},"streamSid":"{stream_sid}"}}'.encode()
        self._begin = b""  # how the last media message began, its digits as zeros: the next one mostly does so too

    def cut(self, frame: bytes) -> bytes | None:
        """The µ-law audio, in base64; None where the frame is another."""
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
        """The name of the mark that came back; None where the frame is another."""
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
_translate: Final = bytes.translate  # where this is compiled, a look-up less


def _with_zeros(text: bytes) -> bytes:
    return _translate(text, _ZEROS)


class MediaWriter:
    """Writes the frames that play audio on one stream; the one shape that is sent often, so written by template."""

    def __init__(self, stream_sid: str) -> None:
        self._begin = f'{{"event":"media","streamSid":"{stream_sid}","media":{{"payload":"'.encode()

    def frame(self, payload: bytes) -> bytes:
        """The frame of this µ-law audio, in base64."""
        return self._begin + payload + b'"}}'


def mark_frame(stream_sid: str, name: str) -> bytes:
    """The frame of a mark, whose name needs no escaping."""
    return b'{"event":"mark","streamSid":"%b","mark":{"name":"%b"}}' % (stream_sid.encode(), name.encode())
