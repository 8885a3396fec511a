"""The frequent frames of a model session, read and written without JSON. Pure: no I/O, no clock.

`realtime_json` gives the same results for them, and handles every other event.
"""

from __future__ import annotations

import re
from typing import Final

from callgate.core.wire.base64_text import is_base64


def append_frame(audio: bytes) -> bytes:
    """Return the frame that appends base64 µ-law audio. Each call sends fifty a second, so it is a template."""
    return b'{"type":"input_audio_buffer.append","audio":"' + audio + b'"}'


class DeltaCutter:
    """Extracts the audio of each ``response.output_audio.delta`` without parsing it, if it is formatted as OpenAI
    writes it.

    Any other frame is left to `realtime_json.parse`, which gives the same result for the frames read here: an
    `AudioDelta` of this response, item and content part, with this audio.
    """

    def __init__(self) -> None:
        self.response_id = ""  # of the latest delta that was read …
        self.item_id = ""
        self.content_index = 0
        self._id_end = 0  # … and where its event id ended; 0: none was read yet
        self._between = b""  # what was between that and the audio; it is usually the same in the next delta

    def cut(self, frame: bytes) -> bytes | None:
        """Return the base64 audio, or None if this is not such a frame."""
        begin = self._id_end + len(self._between)
        if not self._is_like_the_last(frame):
            if (head := _DELTA_HEAD(frame)) is None:
                return None
            self.response_id, self.item_id, self.content_index = head[2].decode(), head[3].decode(), int(head[4])
            self._id_end, begin = head.end(1), head.end()
            self._between = frame[self._id_end : begin]
        audio = frame[begin:-2]
        return audio if frame[-2:] == b'"}' and is_base64(audio) else None

    def _is_like_the_last(self, frame: bytes) -> bool:
        end = self._id_end
        if not end or frame[end : end + len(self._between)] != self._between:
            return False
        begin = len(_DELTA_BEGIN)
        return frame[:begin] == _DELTA_BEGIN and _isalnum(frame[begin:end])


_DELTA_BEGIN: Final = b'{"type":"response.output_audio.delta","event_id":"event_'  # OpenAI's event ids begin like this
_isalnum: Final = bytes.isalnum  # ASCII only, for bytes; compiled, a module constant saves a look-up
_DELTA_HEAD: Final = re.compile(
    rb'\{"type":"response\.output_audio\.delta","event_id":"([A-Za-z0-9_]+)","response_id":"([A-Za-z0-9_]+)",'
    rb'"item_id":"([A-Za-z0-9_]+)","output_index":(?:0|[1-9][0-9]{0,8}),"content_index":(0|[1-9][0-9]{0,8}),"delta":"'
).match
