"""The server's side of one WebSocket after its upgrade (RFC 6455), on an asyncio transport.

Bytes in, whole messages out, in the callback in which they were read: no stream reader, no queue, no task. The frames
themselves are read by `websocket_frames`; `Closing` and `Keepalive` know how long the peer may take. Section numbers
below are the RFC's.

A peer can't monopolise the event loop. Input that arrived at once is handled in slices, one in each turn of the loop,
and nothing more is read meanwhile; a peer that sends more than its `Allowance` is told 1008, and ignored from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Final, cast

from callgate.core.wire.websocket_frames import (
    BINARY,
    CLOSE,
    NORMAL,
    PING,
    POLICY_VIOLATION,
    PONG,
    TEXT,
    BrokenFrameError,
    FrameReader,
    TextWriter,
    close_payload,
    head,
    read_close,
)

from .allowance import BYTES_AT_ONCE, FRAMES_AT_ONCE, TWILIOS, Allowance, Pace
from .closing import CLOSE_DEADLINE, Closing, State
from .keepalive import PING_AFTER, PING_DEADLINE, Keepalive
from .sockets import MESSAGE_LIMIT, Receiver

WRITE_HIGH = 64 * 1024  # bytes waiting for the peer before the receiver is told
NO_CLOSE_FRAME: Final = "the peer ended the connection without a close frame"

# Used for every message; compiled, a module constant saves a look-up.
_OPEN: Final = State.OPEN
_FAILED: Final = State.FAILED
_CLOSED: Final = State.CLOSED


class WebSocketServer(asyncio.Protocol):
    """A client's WebSocket, as a `callgate.websocket.sockets.Socket`. Units are seconds and bytes throughout.

    It has many fields because it ties the parts of a connection together, each of which keeps its own state.
    """

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
        self._text_received: Callable[[bytes], None]  # its methods that are used for every message
        self._batch_received: Callable[[], None]
        self.serve(receiver)
        self.state = State.OPEN
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader = FrameReader(message_limit)
        self._texts = TextWriter()
        self._allowance = Allowance(pace, self._loop.time)
        self._heard = True  # something arrived since the keepalive last asked
        ping = partial(self._send, PING, b"")
        self._keepalive = Keepalive(self._was_heard, ping, self._is_silent, after=ping_after, deadline=ping_deadline)
        self._closing = Closing(close_deadline)
        self._is_more = False  # more is pending than one slice took; the next turn of the loop continues with it
        self._is_deaf = False  # nothing more is read, whatever arrives
        self._ending: Callable[[], None] | None = None  # called after the pending input if the connection ended

    # Called by the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one, though it is not declared as such
        if self._transport.is_closing():  # it was lost earlier, and will not be reported again
            self.connection_lost(None)
            return
        self._transport.set_write_buffer_limits(high=WRITE_HIGH)
        self._keepalive.start()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self.state is _FAILED or self.state is _CLOSED:
            if not self._allowance.spend(1, len(data)):
                self._too_much()
        elif self._is_more:  # it was read before the transport was told to pause
            self._reader.keep(data)
        elif self._reader.put(data):
            self._take_slice()
        elif self._allowance.spend(1, 0):
            self._judge_text()
        else:
            self._too_much()

    def eof_received(self) -> bool:
        if self._is_more:
            self._ending = self._end_at_eof
            return True
        self._closing.tell_lost(self._receiver, NO_CLOSE_FRAME)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._is_more and self.state is _OPEN and not self._closing.is_told:
            self._ending = partial(self._end, exc)  # what arrived before is received first
        else:
            self._end(exc)

    def pause_writing(self) -> None:
        self._receiver.pause_writing()

    def resume_writing(self) -> None:
        self._receiver.resume_writing()

    # Called by its user.

    def serve(self, receiver: Receiver) -> None:
        """Pass what arrives from now on to ``receiver``."""
        self._receiver = receiver
        self._text_received, self._batch_received = receiver.text_received, receiver.batch_received

    def tell_when_lost(self, on_lost: Callable[[Exception | None], None]) -> None:
        """Have ``on_lost`` called with the cause when the connection is lost."""
        self._closing.tell_when_lost(on_lost)

    def send_text(self, message: bytes) -> None:
        """Send a text message, given as UTF-8."""
        if self.state is _OPEN and not self._transport.is_closing():
            self._transport.write(self._texts.frame(message))

    def send_texts(self, first: bytes, second: bytes) -> None:
        """Send two text messages, in one write."""
        if self.state is _OPEN and not self._transport.is_closing():
            self._transport.write(head(TEXT, len(first)) + first + head(TEXT, len(second)) + second)

    def send_binary(self, message: bytes) -> None:
        """Send a binary message."""
        self._send(BINARY, message)

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Start the closing handshake (§7.1.2). ``reason``: at most 123 bytes of UTF-8."""
        if self.state is State.OPEN:
            self._send(CLOSE, close_payload(code, reason))
            self.state = State.CLOSING
            self._give_up_later()

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await self._closing.wait()

    @property
    def waiting(self) -> int:
        """How many bytes are waiting for the peer."""
        return 0 if self._closing.is_over else self._transport.get_write_buffer_size()

    def _send(self, opcode: int, payload: bytes) -> None:
        if self.state is _OPEN and not self._transport.is_closing():
            self._transport.write(head(opcode, len(payload)) + payload)

    # Slices: the work of one turn of the event loop.

    def _take_slice(self) -> None:
        self._is_more = False
        frames = self._take_frames()
        taken = self._reader.taken
        has_begun = self._reader.keep_rest()
        self._batch_received()
        if not self._allowance.spend(frames, taken):
            self._too_much()
        elif self._is_more:
            self._pause_reading()
            self._loop.call_soon(self._go_on)
        elif has_begun:
            self._judge_text()

    def _take_frames(self) -> int:
        """Take whole frames, up to the limit for one slice; return how many there were."""
        reader, frames = self._reader, 0
        try:
            while (payload := reader.next()) is not None:
                frames += 1
                if reader.opcode == TEXT:
                    if self.state is _OPEN:
                        self._text_received(payload)
                else:
                    self._take(reader.opcode, payload)
                    if self.state is _CLOSED:
                        break
                if not reader.has_more:
                    break
                if frames == FRAMES_AT_ONCE or reader.taken >= BYTES_AT_ONCE:
                    self._is_more = True
                    break
        except BrokenFrameError as broken:
            self._fail(broken.code, broken.reason)
        return frames

    def _take(self, opcode: int, payload: bytes) -> None:
        """Handle a frame that is not a text frame."""
        if opcode == PING:
            self._send(PONG, payload)
        elif opcode == CLOSE:
            self._take_close(payload)
        elif opcode == BINARY and self.state is State.OPEN:
            self._receiver.binary_received(payload)

    def _go_on(self) -> None:
        """Take the next slice of the pending input; after the last one, resume reading, or end."""
        if not self._is_more:  # the connection ended meanwhile
            return
        self._reader.put(b"")
        self._take_slice()
        if self._is_more:
            return
        if self._ending is not None:
            self._ending()
        elif not self._is_deaf and not self._transport.is_closing():
            self._transport.resume_reading()

    def _judge_text(self) -> None:
        try:
            self._reader.judge()
        except BrokenFrameError as broken:
            self._fail(broken.code, broken.reason)

    def _too_much(self) -> None:
        """The peer sends more than is allowed: tell it so, and read nothing more."""
        if self.state is not _FAILED and self.state is not _CLOSED:
            self._fail(POLICY_VIOLATION, "more than is allowed", self._allowance.exceeded)
        self._is_deaf = True
        self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    # Closing (§5.5.1, §7).

    def _take_close(self, payload: bytes) -> None:
        code, reason = read_close(payload)
        if self.state is State.OPEN:
            self._send(CLOSE, payload[:2])
        self.state = State.CLOSED
        self._reader.forget()
        self._closing.tell(self._receiver, code, reason)
        self._transport.close()
        self._give_up_later()

    def _fail(self, code: int, reason: str, told: str = "") -> None:
        """Fail the connection (§7.1.7): send the reason, end our side, and wait for the peer to end its own. ``told``:
        what the receiver is told, if that is more than what the peer is told."""
        if self.state is State.OPEN:
            self._send(CLOSE, close_payload(code, reason))
        self.state = State.FAILED
        self._is_more = False
        self._reader.forget()
        self._closing.tell(self._receiver, code, told or f"the peer broke the WebSocket protocol: {reason}")
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():  # otherwise, more input could reset what the peer has not yet read
            with contextlib.suppress(OSError):
                self._transport.write_eof()
        self._give_up_later()

    def _give_up_later(self) -> None:
        self._keepalive.stop()
        self._closing.give_up_later(self._transport.abort)

    def _end_at_eof(self) -> None:
        self._closing.tell_lost(self._receiver, NO_CLOSE_FRAME)
        self._transport.close()

    def _end(self, exc: Exception | None) -> None:
        """The connection is lost, and everything that arrived on it has been received."""
        self._is_more = False
        self._closing.tell_lost(self._receiver, str(exc) if exc else "the connection was lost")
        self.state = State.CLOSED
        self._keepalive.stop()
        self._closing.gone(exc)

    # Silence.

    def _was_heard(self) -> bool:
        heard, self._heard = self._heard, False
        return heard

    def _is_silent(self) -> None:
        self._closing.tell_lost(self._receiver, f"the peer answered no ping for {self._keepalive.deadline:g} s")
        self._transport.abort()
