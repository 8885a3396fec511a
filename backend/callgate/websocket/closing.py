"""How a WebSocket's connection ends: who is told, and how long to wait for the peer (RFC 6455 §7)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import Enum

from callgate.core.units import SECONDS
from callgate.core.wire.websocket_frames import LOST

from .sockets import Receiver

CLOSE_DEADLINE = 2 * SECONDS


class State(Enum):
    """The state of a connection.

    OPEN      messages and pings are answered
    CLOSING   our close frame is sent; we wait for the peer's, and drop its messages
    FAILED    the peer broke the protocol, or sent more than is allowed, and was told so (§7.1.7); we read until it
              goes, without parsing anything
    CLOSED    both sides have closed, or the connection is lost
    """

    OPEN = "messages go both ways"
    CLOSING = "our close frame is sent"
    FAILED = "the peer broke the protocol, and was told so"
    CLOSED = "nothing more is read or sent"


class Closing:
    """The end of one connection. ``deadline``: seconds within which the peer must have closed its side too."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._on_lost: Callable[[Exception | None], None] | None = None
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self.is_told = False  # whether the receiver was told

    @property
    def is_over(self) -> bool:
        """Whether the connection is gone."""
        return self._gone.done()

    async def wait(self) -> None:
        """Wait until the connection is gone."""
        await asyncio.shield(self._gone)

    def tell_when_lost(self, on_lost: Callable[[Exception | None], None]) -> None:
        """Have ``on_lost`` called with the cause when the connection is gone."""
        self._on_lost = on_lost

    def tell(self, receiver: Receiver, code: int, reason: str) -> None:
        """Tell the receiver that nothing more will arrive, unless it was told before."""
        if not self.is_told:
            self.is_told = True
            receiver.connection_closed(code, reason)

    def tell_lost(self, receiver: Receiver, reason: str) -> None:
        """Like `tell`, for an end without a close frame."""
        self.tell(receiver, LOST, reason)

    def give_up_later(self, abort: Callable[[], None]) -> None:
        """The closing handshake has begun: have ``abort`` called if it takes too long."""
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
