"""How a WebSocket's connection ends: who is told of it, and how long the peer is waited for (RFC 6455 §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from callgate.core.units import SECONDS
from callgate.core.wire.websocket_frames import LOST

from .sockets import Receiver

CLOSE_DEADLINE = 2 * SECONDS


class State(Enum):
    """How far a connection is.

    OPEN      messages and pings are answered
    CLOSING   our close frame is sent; we wait for the peer's, and give its messages to nobody
    FAILED    the peer broke the protocol and was told so (§7.1.7); we read until it goes, and understand nothing more
              (not even that of one who sent more than is allowed)
    CLOSED    both sides have closed, or the connection is lost
    """

    OPEN = "messages go both ways"
    CLOSING = "our close frame is sent"
    FAILED = "the peer broke the protocol, and was told so"
    CLOSED = "nothing more is read or sent"


class Closing:
    """The end of one connection. ``deadline``: seconds in which the peer must have closed its side too."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._on_lost: Callable[[Exception | None], None] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.is_told = False  # the receiver knows

    @property
    def is_over(self) -> bool:
        """Whether the connection is gone."""
        return self._gone.done()

    async def wait(self) -> None:
        """Wait until the connection is gone."""
        await asyncio.shield(self._gone)

    def tell_when_lost(self, on_lost: Callable[[Exception | None], None]) -> None:
        """Have ``on_lost`` called when the connection is gone, with what it was lost by."""
        self._on_lost = on_lost

    def tell(self, receiver: Receiver, code: int, reason: str) -> None:
        """Tell the receiver that nothing more comes, if it has not been told."""
        if not self.is_told:
            self.is_told = True
            receiver.connection_closed(code, reason)

    def tell_lost(self, receiver: Receiver, reason: str) -> None:
        """As `tell`, where there is no close frame."""
        self.tell(receiver, LOST, reason)

    def give_up_later(self, abort: Callable[[], None]) -> None:
        """The handshake has begun: have ``abort`` called when it has lasted too long."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(self._deadline, abort)

    def gone(self, exc: Exception | None) -> None:
        """The connection is gone."""
        if self._timer is not None:
            self._timer.cancel()
        if not self._gone.done():
            self._gone.set_result(None)
        if self._on_lost is not None:
            self._on_lost(exc)
