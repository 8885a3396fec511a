"""The server's side of one WebSocket after its upgrade (RFC 6455), on a transport of asyncio's. No extensions.

Bytes in, whole messages out, in the callback in which they were read: no stream reader, no queue, no task. Section
numbers below are the RFC's.

    OPEN      messages and pings are answered
    CLOSING   our close frame is sent; we wait for the peer's, and give its messages to nobody
    FAILED    the peer broke the protocol and was told so (§7.1.7); we read until it goes, and understand nothing more
              (not even that of one who sent more than is allowed)
    CLOSED    both sides have closed, or the connection is lost

A connection never waits for ever: for the closing handshake `close_deadline`, for a sign of life `ping_after` and
`ping_deadline`. Silence is judged after the bytes that lay waiting have been read, so that a busy loop is not taken
for a silent peer.

Nor does a peer hold the event loop. What came at once is taken in slices, one in each turn of the loop, and nothing
more is read meanwhile; whoever sends more than an `Allowance` allows is told 1008, and heard no more.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
from collections.abc import Callable
from enum import Enum
from typing import Final, cast

from .allowance import BYTES_AT_ONCE, FRAMES_AT_ONCE, TWILIOS, Allowance, Pace
from .sockets import MESSAGE_LIMIT, Receiver

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel for this platform
    from websockets.utils import apply_mask

SECONDS = 1.0
PING_AFTER = 20 * SECONDS  # of silence
PING_DEADLINE = 20 * SECONDS
CLOSE_DEADLINE = 2 * SECONDS
LATE_READ = 0.1 * SECONDS  # in which a loop that was busy reads what lay waiting
WRITE_HIGH = 64 * 1024  # bytes that wait to be taken by the peer before the receiver is told

CONTINUATION, BINARY, CLOSE, PING, PONG = 0x0, 0x2, 0x8, 0x9, 0xA
TEXT: Final = 0x1
FIN_TEXT: Final = 0x81
CONTROL_LIMIT = 125  # bytes (§5.5)

NORMAL, PROTOCOL_ERROR, NO_CODE, LOST = 1000, 1002, 1005, 1006
INVALID_TEXT, POLICY_VIOLATION, TOO_BIG = 1007, 1008, 1009
# What a close frame may carry (§7.4 and the registry it founded).
CLOSE_CODES = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)})


class State(Enum):
    OPEN = "messages go both ways"
    CLOSING = "our close frame is sent"
    FAILED = "the peer broke the protocol, and was told so"
    CLOSED = "nothing more is read or sent"


# What every message asks for; where this is compiled, a look-up less.
_OPEN: Final = State.OPEN
_FAILED: Final = State.FAILED
_CLOSED: Final = State.CLOSED
_unmask: Final = apply_mask
_isascii: Final = bytes.isascii


class _Failed(Exception):
    """The peer broke the protocol. ``code``: what it is told (§7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


class WebSocketServer(asyncio.Protocol):
    """A WebSocket of a client's, as `callgate.websocket.sockets.Socket`. Seconds and bytes throughout."""

    def __init__(
        self,
        receiver: Receiver,
        *,
        message_limit: int = MESSAGE_LIMIT,
        pace: Pace = TWILIOS,
        ping_after: float = PING_AFTER,
        ping_deadline: float = PING_DEADLINE,
        close_deadline: float = CLOSE_DEADLINE,
    ) -> None:
        self._receiver: Receiver
        self._text_received: Callable[[bytes], None]  # its methods that each message asks for
        self._batch_received: Callable[[], None]
        self.receiver = receiver
        self.state = State.OPEN
        self.on_lost: Callable[[Exception | None], None] | None = None  # whoever else must know
        self._message_limit = message_limit
        self._ping_after, self._ping_deadline = ping_after, ping_deadline
        self._close_deadline = close_deadline
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._allowance = Allowance(pace, self._loop.time)
        self._taken = 0  # frames of the slice that was taken last
        self._is_more = False  # more lies in ``_tail`` than that slice; the next turn of the loop goes on with it
        self._is_deaf = False  # nothing more is read, whatever comes
        self._eof = False  # the peer has ended its side behind what lies in ``_tail``; or …
        self._is_lost = False  # … the connection is lost, …
        self._exc: Exception | None = None  # … by this
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._told_closed = False  # the receiver knows
        self._tail = bytearray()  # the beginning of a frame whose end has not come …
        self._wanted = 0  # … and how many bytes of it must be there before it is looked at again; 0: there is none
        self._opcode = CONTINUATION  # of the message under way in fragments; CONTINUATION: none is
        self._fragments = bytearray()
        self._utf8 = codecs.getincrementaldecoder("utf-8")()
        self._judged = 0  # bytes of the text of a frame whose end has not come that were found to be UTF-8 …
        self._partial = codecs.getincrementaldecoder("utf-8")()  # … by this
        self._heard = True  # something came since the timer was last set
        self._timer: asyncio.TimerHandle | None = None
        self._text_size = 0  # of the last text sent by itself: most are as long as the one before …
        self._text_head = _head(TEXT, 0)  # … and have the same header

    @property
    def receiver(self) -> Receiver:
        """Who is served."""
        return self._receiver

    @receiver.setter
    def receiver(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._text_received, self._batch_received = receiver.text_received, receiver.batch_received

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, though it does not say so
        if self._transport.is_closing():  # lost before it came here, and will not say so again
            self.connection_lost(None)
            return
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._timer = self._loop.call_later(self._ping_after, self._listen)

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self.state is _FAILED or self.state is _CLOSED:
            if not self._allowance.spend(1, len(data)):
                self._too_much()
            return
        if self._wanted:
            self._tail += data
            if len(self._tail) < self._wanted or self._is_more:
                self._wait_for_more()
                return
            data = bytes(self._tail)
            self._tail.clear()
            self._judged = 0
        self._take_slice(data)

    def eof_received(self) -> bool:
        if self._is_more:
            self._eof = True
            return True
        self._lost("the peer ended the connection without a close frame")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_lost, self._exc = True, exc
        if not self._is_more or self.state is not _OPEN or self._told_closed:
            self._end()  # else what came before is received first

    def pause_writing(self) -> None:
        self.receiver.pause_writing()

    def resume_writing(self) -> None:
        self.receiver.resume_writing()

    # What its user calls.

    def send_text(self, message: bytes) -> None:
        """Send a text message, given as UTF-8."""
        if self.state is _OPEN and not self._transport.is_closing():
            size = len(message)
            if size != self._text_size:
                self._text_size, self._text_head = size, _head(TEXT, size)
            self._transport.write(self._text_head + message)

    def send_texts(self, first: bytes, second: bytes) -> None:
        """Send two text messages, in one write."""
        if self.state is _OPEN and not self._transport.is_closing():
            self._transport.write(_head(TEXT, len(first)) + first + _head(TEXT, len(second)) + second)

    def send_binary(self, message: bytes) -> None:
        """Send a binary message."""
        self._send(BINARY, message)

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Start the closing handshake (§7.1.2). ``reason``: at most 123 bytes of UTF-8."""
        if self.state is State.OPEN:
            self._send(CLOSE, code.to_bytes(2, "big") + reason.encode())
            self.state = State.CLOSING
            self._give_up_later()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await asyncio.shield(self._gone)

    @property
    def waiting(self) -> int:
        """How many bytes wait to be taken by the peer."""
        return 0 if self._gone.done() else self._transport.get_write_buffer_size()

    # Slices: what one turn of the event loop does.

    def _take_slice(self, data: bytes) -> None:
        self._is_more = False
        taken = self._take_frames(data)
        if taken < len(data):
            self._tail += data[taken:]
        else:
            self._wanted = 0
        self._batch_received()
        if not self._allowance.spend(self._taken, taken):
            self._too_much()
        elif self._is_more:
            self._pause_reading()
            self._loop.call_soon(self._go_on)
        elif self._wanted:
            self._judge_text()

    def _go_on(self) -> None:
        """Take the next slice of what came; behind the last one, read on or end."""
        if not self._is_more:  # it ended meanwhile
            return
        data = bytes(self._tail)
        self._tail.clear()
        self._take_slice(data)
        if self._is_more:
            return
        if self._is_lost:
            self._end()
        elif self._eof:
            self._lost("the peer ended the connection without a close frame")
            self._transport.close()
        elif not self._is_deaf and not self._transport.is_closing():
            self._transport.resume_reading()

    def _wait_for_more(self) -> None:
        """What came ended no frame."""
        if self._is_more:  # it was read before the transport was told to pause
            return
        if self._allowance.spend(1, 0):
            self._judge_text()
        else:
            self._too_much()

    def _too_much(self) -> None:
        """The peer sends more than is allowed: it is told so, and nothing more is read."""
        if self.state is not _FAILED and self.state is not _CLOSED:
            self._fail(POLICY_VIOLATION, "more than is allowed", self._allowance.exceeded)
        self._is_deaf = True
        self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def _end(self) -> None:
        """The connection is lost, and all that came on it has been received."""
        self._is_more = False
        self._lost(str(self._exc) if self._exc else "the connection was lost")
        self.state = State.CLOSED
        if self._timer is not None:
            self._timer.cancel()
        if not self._gone.done():
            self._gone.set_result(None)
        if self.on_lost is not None:
            self.on_lost(self._exc)

    # Frames (§5.2).

    def _take_frames(self, data: bytes) -> int:
        """Take the whole frames at the beginning of ``data``, as many as are taken at once; returns how many bytes they
        were."""
        at, size, frames = 0, len(data), 0
        self._wanted = 2
        try:
            while size - at >= 2:
                if frames == FRAMES_AT_ONCE or at >= BYTES_AT_ONCE:
                    self._is_more = True
                    break
                first, second = data[at], data[at + 1]
                length, start = second & 0x7F, at + 6
                if length >= 126:
                    wide = 2 if length == 126 else 8
                    start += wide
                    if size - at < 2 + wide:
                        self._wanted = 2 + wide
                        break
                    length = _long_length(data, at + 2, wide)
                if first != FIN_TEXT or second < 0x80 or self._opcode or length > self._message_limit:
                    self._check_header(first, second, length)
                end = start + length
                if size < end:
                    self._wanted = end - at
                    break
                payload = _unmask(data[start:end], data[start - 4 : start])
                at = end
                frames += 1
                if first == FIN_TEXT:
                    if not _isascii(payload):
                        _check_utf8(payload)
                    if self.state is _OPEN:
                        self._text_received(payload)
                else:
                    self._take(first >> 7, first & 0x0F, payload)
                if self.state is _CLOSED:
                    return size
            self._taken = frames
        except _Failed as failure:
            self._fail(failure.code, failure.reason)
            return size
        return at

    def _judge_text(self) -> None:
        """Fail as soon as the text of a frame whose end has not come can't be UTF-8 any more (§8.1)."""
        tail = self._tail
        if len(tail) < 2 or (tail[0] & 0x0F or self._opcode) != TEXT:
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
            self._fail(INVALID_TEXT, "text is not UTF-8")

    def _check_header(self, first: int, second: int, length: int) -> None:
        opcode, is_final = first & 0x0F, first & 0x80
        if first & 0x70:
            raise _Failed(PROTOCOL_ERROR, "reserved bit set")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise _Failed(PROTOCOL_ERROR, "reserved opcode")
        if not second & 0x80:
            raise _Failed(PROTOCOL_ERROR, "frame not masked")
        if opcode >= CLOSE:
            if length > CONTROL_LIMIT or not is_final:
                raise _Failed(PROTOCOL_ERROR, "control frame too long or fragmented")
            return
        if (opcode == CONTINUATION) != (self._opcode != CONTINUATION):
            raise _Failed(PROTOCOL_ERROR, "continuation of nothing, or a new message within one")
        if len(self._fragments) + length > self._message_limit:
            raise _Failed(TOO_BIG, "message too big")

    def _take(self, is_final: int, opcode: int, payload: bytes) -> None:
        match opcode:
            case _ if opcode == PING:
                self._send(PONG, payload)
            case _ if opcode == CLOSE:
                self._take_close(payload)
            case _ if opcode != PONG:
                self._take_fragment(is_final, opcode, payload)

    def _take_fragment(self, is_final: int, opcode: int, payload: bytes) -> None:
        if opcode != CONTINUATION:
            self._opcode = opcode
        self._fragments += payload
        if self._opcode == TEXT:
            try:
                self._utf8.decode(payload, bool(is_final))
            except UnicodeDecodeError:
                raise _Failed(INVALID_TEXT, "text is not UTF-8") from None
        if is_final:
            self._end_message()

    def _end_message(self) -> None:
        message, opcode = bytes(self._fragments), self._opcode
        self._opcode = CONTINUATION
        self._fragments.clear()
        self._utf8.reset()
        if self.state is State.OPEN:
            (self.receiver.text_received if opcode == TEXT else self.receiver.binary_received)(message)

    # Closing (§5.5.1, §7).

    def _take_close(self, payload: bytes) -> None:
        code, reason = _read_close(payload)
        if self.state is State.OPEN:
            self._send(CLOSE, payload[:2])
        self.state = State.CLOSED
        self._tell_closed(code, reason)
        self._transport.close()
        self._give_up_later()

    def _fail(self, code: int, reason: str, told: str = "") -> None:
        """Fail the connection (§7.1.7): say why, end our side, and let the peer's run out. ``told``: what the receiver
        is told, where it is more than the peer is."""
        if self.state is State.OPEN:
            self._send(CLOSE, code.to_bytes(2, "big") + reason.encode())
        self.state = State.FAILED
        self._is_more = False
        self._tail.clear()
        self._fragments.clear()
        self._tell_closed(code, told or f"the peer broke the WebSocket protocol: {reason}")
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():  # else what the peer still sends would reset what it has not yet read
            with contextlib.suppress(OSError):
                self._transport.write_eof()
        self._give_up_later()

    def _lost(self, reason: str) -> None:
        self._tell_closed(LOST, reason)

    def _tell_closed(self, code: int, reason: str) -> None:
        if not self._told_closed:
            self._told_closed = True
            self.receiver.connection_closed(code, reason)

    # Time.

    def _listen(self) -> None:
        """The peer was silent for a while, or was not."""
        if self._heard:
            self._heard = False
            self._timer = self._loop.call_later(self._ping_after, self._listen)
        else:
            self._send(PING, b"")
            self._timer = self._loop.call_later(self._ping_deadline, self._read_once_more)

    def _read_once_more(self) -> None:
        self._timer = self._loop.call_later(LATE_READ, self._judge_silence)

    def _judge_silence(self) -> None:
        if self._heard:
            self._listen()
        else:
            self._lost(f"the peer answered no ping for {self._ping_deadline:g} s")
            self._transport.abort()

    def _give_up_later(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._close_deadline, self._transport.abort)

    # Sending.

    def _send(self, opcode: int, payload: bytes) -> None:
        if self.state is _OPEN and not self._transport.is_closing():
            self._transport.write(_head(opcode, len(payload)) + payload)


def _head(opcode: int, size: int) -> bytes:
    """The header of an unmasked frame that is a whole message."""
    if size < 126:
        return bytes((0x80 | opcode, size))
    if size < 1 << 16:
        return bytes((0x80 | opcode, 126, size >> 8, size & 0xFF))
    return bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")


def _long_length(data: bytes, at: int, wide: int) -> int:
    """The extended payload length at ``at``, of two or eight bytes, in the only form that is allowed: the shortest."""
    if wide == 2:
        length = data[at] << 8 | data[at + 1]
        is_shortest = length >= 126
    else:
        length = int.from_bytes(data[at : at + wide], "big")
        is_shortest = 1 << 16 <= length < 1 << 63
    if not is_shortest:
        raise _Failed(PROTOCOL_ERROR, "payload length not in its shortest form")
    return length


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError:
        raise _Failed(INVALID_TEXT, "text is not UTF-8") from None


def _read_close(payload: bytes) -> tuple[int, str]:
    """Code and reason of a close frame."""
    if not payload:
        return NO_CODE, ""
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or code not in CLOSE_CODES:
        raise _Failed(PROTOCOL_ERROR, "close code not allowed")
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise _Failed(INVALID_TEXT, "close reason is not UTF-8") from None
