"""WebSocket frames (RFC 6455 §5) from the server's side: a client's bytes in, payloads out; and the server's own
frames.

Pure: no I/O, no clock. No extensions. Section numbers are the RFC's.
"""

from __future__ import annotations

import codecs
from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel for this platform
    from websockets.utils import apply_mask

CONTINUATION: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_FIN_TEXT: Final = 0x81
CONTROL_LIMIT: Final = 125  # bytes (§5.5)

NORMAL: Final = 1000
PROTOCOL_ERROR: Final = 1002
NO_CODE: Final = 1005
LOST: Final = 1006
INVALID_TEXT: Final = 1007
POLICY_VIOLATION: Final = 1008
TOO_BIG: Final = 1009
# The codes that a close frame may carry (§7.4 and the registry it established).
CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})

# Used for every frame; compiled, a module constant saves a look-up.
_unmask: Final = apply_mask
_isascii: Final = bytes.isascii


class BrokenFrameError(Exception):
    """The peer broke the protocol. ``code``: the close code to send (§7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


class FrameReader:
    """Splits a client's bytes into frames, however they are chunked.

    `put` takes the bytes that arrived; each `next` returns one whole frame, until there is none; then call `keep_rest`.
    If reading stops before that, to go on later, `keep` stores what arrives meanwhile. ``message_limit``: bytes of a
    whole message.
    """

    def __init__(self, message_limit: int) -> None:
        self.opcode = CONTINUATION  # of what `next` returned; CONTINUATION: a fragment of an unfinished message
        self.taken = 0  # bytes of the latest `put` that `next` has consumed
        self.has_more = False  # whether another frame may follow those bytes
        self._data = b""
        self._message_limit = message_limit
        self._tail = bytearray()  # the beginning of an unfinished frame …
        self._wanted = 0  # … and how many bytes of it are needed before it is examined again; 0: there is none
        self._message = CONTINUATION  # the opcode of the fragmented message in progress; CONTINUATION: none
        self._fragments = bytearray()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._judged = 0  # bytes of text in an unfinished frame that were found to be valid UTF-8 …
        self._partial = codecs.getincrementaldecoder("utf-8")()  # … by this decoder

    def put(self, data: bytes) -> bool:
        """These bytes arrived. Return whether there may be a whole frame now."""
        if self._wanted:
            self._tail += data
            if len(self._tail) < self._wanted:
                return False
            data = bytes(self._tail)
            self._tail.clear()
            self._judged = 0
        self._data, self.taken, self._wanted = data, 0, 2
        return True

    def keep(self, data: bytes) -> None:
        """Append bytes that arrived to those that are kept; they are put together."""
        self._tail += data

    def next(self) -> bytes | None:
        """Return the payload of the next frame, or None if there is no whole frame. `opcode` says what it is: a whole
        message (TEXT, which is valid UTF-8, or BINARY), a control frame (CLOSE, PING, PONG), or a fragment of a message
        (CONTINUATION), whose payload is returned only when the message is whole. Raises `BrokenFrameError`."""
        data, at = self._data, self.taken
        left = len(data) - at
        if left < 2:
            return None
        first, second = data[at], data[at + 1]
        length, start = second & 0x7F, at + 6
        if length >= 126:
            wide = 2 if length == 126 else 8
            start += wide
            if left < 2 + wide:
                self._wanted = 2 + wide
                return None
            length = _long_length(data, at + 2, wide)
        if first != _FIN_TEXT or second < 0x80 or self._message or length > self._message_limit:
            self._check_header(first, second, length)
        end = start + length
        if len(data) < end:
            self._wanted = end - at
            return None
        payload = _unmask(data[start:end], data[start - 4 : start])
        self.taken = end
        self.has_more = len(data) - end >= 2
        if first != _FIN_TEXT:
            return self._take(first & 0x80, first & 0x0F, payload)
        if not _isascii(payload):
            _check_utf8(payload)
        self.opcode = TEXT
        return payload

    def keep_rest(self) -> bool:
        """Keep the unconsumed bytes for the next `put`. Return whether there are any."""
        has_rest = self.taken < len(self._data)
        if has_rest:
            self._tail += self._data[self.taken :]
        else:
            self._wanted = 0
        self._data = b""
        return has_rest

    def judge(self) -> None:
        """Raise `BrokenFrameError` as soon as the text of an unfinished frame can't be valid UTF-8 any more (§8.1)."""
        tail = self._tail
        if len(tail) < 2 or (tail[0] & 0x0F or self._message) != TEXT:
            return
        length = tail[1] & 0x7F
        start = 6 if length < 126 else 8 if length == 126 else 14
        at = start + self._judged
        if len(tail) <= at:
            return
        mask, turn = bytes(tail[start - 4 : start]), self._judged % 4
        text = _unmask(bytes(tail[at:]), mask[turn:] + mask[:turn])
        if self._judged == 0:
            self._partial.setstate(self._utf8.getstate())
        self._judged += len(text)
        try:
            self._partial.decode(text)
        except UnicodeDecodeError:
            raise BrokenFrameError(INVALID_TEXT, "text is not UTF-8") from None

    def forget(self) -> None:
        """Discard everything that arrived."""
        self.taken = len(self._data)
        self._tail.clear()
        self._fragments.clear()

    def _check_header(self, first: int, second: int, length: int) -> None:
        opcode, is_final = first & 0x0F, first & 0x80
        if first & 0x70:
            raise BrokenFrameError(PROTOCOL_ERROR, "reserved bit set")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise BrokenFrameError(PROTOCOL_ERROR, "reserved opcode")
        if not second & 0x80:
            raise BrokenFrameError(PROTOCOL_ERROR, "frame not masked")
        if opcode >= CLOSE:
            if length > CONTROL_LIMIT or not is_final:
                raise BrokenFrameError(PROTOCOL_ERROR, "control frame too long or fragmented")
            return
        if (opcode == CONTINUATION) != (self._message != CONTINUATION):
            raise BrokenFrameError(PROTOCOL_ERROR, "continuation of nothing, or a new message within one")
        if len(self._fragments) + length > self._message_limit:
            raise BrokenFrameError(TOO_BIG, "message too big")

    def _take(self, is_final: int, opcode: int, payload: bytes) -> bytes:
        """Handle any frame other than a text frame that is a whole message."""
        self.opcode = opcode
        if opcode >= CLOSE:
            return payload
        if opcode != CONTINUATION:
            self._message = opcode
        self._fragments += payload
        if self._message == TEXT:
            try:
                self._utf8.decode(payload, bool(is_final))
            except UnicodeDecodeError:
                raise BrokenFrameError(INVALID_TEXT, "text is not UTF-8") from None
        if not is_final:
            self.opcode = CONTINUATION
            return b""
        return self._whole_message()

    def _whole_message(self) -> bytes:
        message, self.opcode = bytes(self._fragments), self._message
        self._message = CONTINUATION
        self._fragments.clear()
        self._utf8.reset()
        return message


class TextWriter:
    """Writes text frames. Most are as long as the previous one, and have the same header."""

    def __init__(self) -> None:
        self._size = 0
        self._head = head(TEXT, 0)

    def frame(self, message: bytes) -> bytes:
        """Return the frame of a text message, given as UTF-8."""
        size = len(message)
        if size != self._size:
            self._size, self._head = size, head(TEXT, size)
        return self._head + message


def head(opcode: int, size: int) -> bytes:
    """Return the header of an unmasked frame that is a whole message."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126, size >> 8, size & 0xFF))
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


def close_payload(code: int, reason: str) -> bytes:
    """Return the payload of a close frame. ``reason``: at most 123 bytes of UTF-8."""
    return code.to_bytes(2, "big") + reason.encode()


def read_close(payload: bytes) -> tuple[int, str]:
    """Return the code and reason of a close frame. Raises `BrokenFrameError`."""
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in CLOSE_CODES:
        raise BrokenFrameError(PROTOCOL_ERROR, "close code not allowed")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise BrokenFrameError(INVALID_TEXT, "close reason is not UTF-8") from None


def _long_length(data: bytes, at: int, wide: int) -> int:
    """Read the extended payload length at ``at``, two or eight bytes, in the only form allowed: the shortest."""
    if wide == 2:
        length = data[at] << 8 | data[at + 1]
        is_shortest = length >= 126
    else:
        length = int.from_bytes(data[at : at + wide], "big")
        is_shortest = 1 << 16 <= length < 1 << 63
    if not is_shortest:
        raise BrokenFrameError(PROTOCOL_ERROR, "payload length not in its shortest form")
    return length


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise BrokenFrameError(INVALID_TEXT, "text is not UTF-8") from None
