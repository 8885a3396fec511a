"""Twilio's side of a call: what arrives on its socket, and what is sent to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from callgate.core.foreign import foreign
from callgate.core.protocols.realtime_fast import append_frame
from callgate.core.receipt import Counters
from callgate.core.turns.commands import Command, Outcome
from callgate.core.turns.conversation import Conversation
from callgate.core.wire.base64_text import joined
from callgate.core.wire.media_stream import PLAYBACK_LIMIT_BYTES, Clear, Mark, Media
from callgate.core.wire.media_stream_fast import MediaCutter
from callgate.core.wire.media_stream_json import encode_to_twilio, parse_from_twilio
from callgate.errors import MediaStreamError
from callgate.websocket.sockets import Socket

from .odd_messages import OddMessages
from .outbox import Outbox
from .timers import WRITE_DEADLINE, Deadline, Stall

TO_TWILIO_LIMIT = PLAYBACK_LIMIT_BYTES * 4 // 3  # base64 of the ten minutes that Twilio would buffer


class TwilioLeg:
    """Receives a call's stream (`callgate.websocket.sockets.Receiver`), and sends on it.

    ``outbox``: what waits for Twilio. ``to_model``: where the caller's audio goes. ``do``: carries out the
    conversation's commands. ``odd``: counts what can't be used. ``deadline``: the conversation's, which the caller's
    audio may meet.
    """

    def __init__(
        self,
        stream_sid: str,
        socket: Socket,
        conversation: Conversation,
        counters: Counters,
        deadline: Deadline,
        outbox: Outbox,
        to_model: Outbox,
        do: Callable[[Iterable[Command]], None],
        odd: OddMessages,
    ) -> None:
        self._socket = socket
        self._conversation = conversation
        self._counters = counters
        self._deadline = deadline
        self._outbox = outbox
        self._to_model = to_model
        self._do = do
        self._odd = odd
        self._now: Callable[[], float] = asyncio.get_running_loop().time  # looked up once
        self._cutter = MediaCutter(stream_sid)
        self._caller_audio: list[bytes] = []  # base64 µ-law, from the messages of one batch
        self._stall = Stall(self._took_nothing)

    # Called by the call's session.

    def begin(self) -> None:
        """Send what waits, and from now on every message."""
        self._outbox.open(self._socket.send_text, self._socket.send_texts)

    def send(self, message: Media | Mark) -> None:
        """Send a message, after those that wait."""
        self._outbox.put(encode_to_twilio(message).encode())

    def clear(self, message: Clear) -> None:
        """Have Twilio discard what it was sent; messages that still wait here are dropped."""
        self._outbox.clear()
        self._outbox.put(encode_to_twilio(message).encode())

    def end_if_full(self) -> bool:
        """End the call if too much waits. Return whether it was ended."""
        if not self._outbox.full:
            return False
        self._outbox.clear()
        self._do(self._conversation.stream_lost("more than ten minutes of audio wait for Twilio"))
        return True

    def close(self, outcome: Outcome) -> None:
        """Tell Twilio that the stream ended, and how."""
        self._socket.close(_close_code(outcome), outcome.value)

    def forget_timers(self) -> None:
        """Cancel the timers: the call is over."""
        self._stall.close()

    # Called by the socket.

    def text_received(self, message: bytes) -> None:
        audio = self._cutter.cut(message)
        if audio is not None:
            now = self._now()
            self._counters.caller_audio_came()
            if self._conversation.caller_audio(audio, now):
                self._caller_audio.append(audio)
            if now >= self._deadline.due:
                self.batch_received()  # first, so that a session that takes over now does not get it twice
                self._deadline.met(self._deadline.due)
        else:
            self.batch_received()
            if (mark := self._cutter.cut_mark(message)) is None:
                self._twilio_sent(message.decode())
            elif commands := self._conversation.mark_returned(mark, self._now()):
                self._do(commands)

    def binary_received(self, message: bytes) -> None:
        self._twilio_sent(message)

    def batch_received(self) -> None:
        """Forward audio that arrived together as one frame, so that audio that is late already is not delayed
        further."""
        if waiting := self._caller_audio:
            audio = waiting[0] if len(waiting) == 1 else joined(waiting)
            waiting.clear()
            self._to_model.put(append_frame(audio), droppable=True)

    def pause_writing(self) -> None:
        self._outbox.pause()
        self._stall.begin()

    def resume_writing(self) -> None:
        self._stall.end()
        self._outbox.resume()

    def connection_closed(self, code: int, reason: str) -> None:
        told = f"{code} {foreign(reason)}".rstrip()
        self._do(self._conversation.stream_lost(f"the media stream's socket was closed without a stop: {told}"))

    def _took_nothing(self) -> None:
        self._do(self._conversation.stream_lost(f"Twilio accepted no frame for {WRITE_DEADLINE:.0f} s"))

    def _twilio_sent(self, message: str | bytes) -> None:
        try:
            parsed = parse_from_twilio(message)
            commands = self._conversation.twilio_sent(parsed, self._now())
        except MediaStreamError as exc:
            self._odd.skip(exc)
            return
        if isinstance(parsed, Media):
            self._counters.caller_audio_came()
        self._do(commands)


def _close_code(outcome: Outcome) -> int:
    """Return the WebSocket close code (RFC 6455 §7.4.1) that tells Twilio how the stream ended."""
    match outcome:
        case Outcome.SHUT_DOWN:
            return 1001
        case Outcome.FAILED:
            return 1011
    return 1000
