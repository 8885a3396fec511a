"""Turns the frames of a model session into whole events, for whoever receives them. No I/O, no clock.

Events that arrive while nobody receives them are kept, up to `EARLY_LIMIT`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from picows import WSCloseCode, WSMsgType

from callgate.core.foreign import left_out

# Events kept for the next receiver. A session that was configured sends two; one that was also told the history adds a
# few for each turn.
EARLY_LIMIT = 64
MESSAGE_LIMIT = 4 * 1024 * 1024  # bytes of one event; an audio delta is about ten kB

TEXT: Final = WSMsgType.TEXT  # looked up once: a call gets fifty events a second


class ModelReceiver(Protocol):
    """Receives the events of a model session."""

    def model_sent(self, frame: bytes) -> None:
        """A whole event arrived; its UTF-8 has not been checked."""

    def model_sent_binary(self, frame: bytes) -> None:
        """A binary frame, or the first part of one, arrived where only text is expected."""

    def model_lost(self, reason: str) -> None:
        """The session ended, because of the server or a fault. Called once."""

    def model_is_full(self) -> None:
        """The server accepts less than it is sent."""

    def model_takes_more(self) -> None:
        """The server has accepted what was waiting."""


class Frame(Protocol):
    """A frame like `picows.WSFrame`, whose ``fin`` is a number, whatever its stub says."""

    @property
    def msg_type(self) -> WSMsgType: ...

    @property
    def fin(self) -> int: ...

    def get_payload_as_bytes(self) -> bytes: ...


class Peer(Protocol):
    """The sender of the frames, like `picows.WSTransport`."""

    def send_close(self, close_code: WSCloseCode) -> None: ...

    def disconnect(self) -> None: ...


class ModelFrames:
    """The frames of one session; ``name`` is its server's."""

    def __init__(self, name: str) -> None:
        self._receiver: ModelReceiver | None = None
        self.lost: str | None = None  # why nothing more arrives; without the server's words, which may quote a call …
        self.last_words = ""  # … and those words, for users who know that they quote nothing
        self._heard = True  # whether something arrived since `was_heard` was last called
        self._name = name
        self._give: Callable[[bytes], object] = self._keep
        self._early: list[bytes] = []
        self._fragments: list[bytes] = []
        self._in_binary = False  # the frames that continue a binary one are skipped with it

    def adopt(self, receiver: ModelReceiver) -> None:
        """Pass events to ``receiver``, first those that arrived earlier, until it is released."""
        self._receiver, self._give = receiver, receiver.model_sent
        early, self._early = self._early, []
        for event in early:
            self._give(event)
        if self.lost is not None and self._receiver is receiver:
            receiver.model_lost(self.lost)

    def release(self) -> None:
        """Stop passing events on: they are kept for the next receiver."""
        self._receiver, self._give = None, self._keep

    def lose(self, reason: str) -> None:
        """Nothing more will arrive."""
        if self.lost is None:
            self.lost = reason
            if self._receiver is not None:
                self._receiver.model_lost(reason)

    def is_full(self) -> None:
        """The server accepts less than it is sent."""
        if self._receiver is not None:
            self._receiver.model_is_full()

    def takes_more(self) -> None:
        """The server has accepted what was waiting."""
        if self._receiver is not None:
            self._receiver.model_takes_more()

    def was_heard(self) -> bool:
        """Return whether something arrived since this was last called."""
        heard, self._heard = self._heard, False
        return heard

    def came(self, peer: Peer, frame: Frame) -> None:
        """A frame arrived. A close frame is answered."""
        self._heard = True
        kind = frame.msg_type
        if kind is TEXT and frame.fin and not self._fragments:
            self._give(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CONTINUATION and self._in_binary:
            self._in_binary = not frame.fin
        elif kind is TEXT or kind is WSMsgType.CONTINUATION:
            self._fragments.append(frame.get_payload_as_bytes())
            if sum(map(len, self._fragments)) > MESSAGE_LIMIT:
                self.lose(f"{self._name} sent an event of more than {MESSAGE_LIMIT} bytes")
            elif frame.fin:
                event = b"".join(self._fragments)
                self._fragments.clear()
                self._give(event)
        elif kind is WSMsgType.BINARY:
            self._in_binary = not frame.fin
            if self._receiver is not None:
                self._receiver.model_sent_binary(frame.get_payload_as_bytes())
        elif kind is WSMsgType.CLOSE:
            payload = frame.get_payload_as_bytes()
            peer.send_close(WSCloseCode.OK)
            peer.disconnect()
            code = int.from_bytes(payload[:2], "big") or "no code"
            if self.lost is None:
                self.last_words = payload[2:].decode(errors="replace")
            words = f" ({left_out(self.last_words)})" if self.last_words else ""
            self.lose(f"{self._name} closed the session: {code}{words}")

    def _keep(self, event: bytes) -> None:
        if len(self._early) < EARLY_LIMIT:
            self._early.append(event)
