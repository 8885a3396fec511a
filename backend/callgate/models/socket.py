"""The socket of one model session: frames out, whole events in, and a keepalive."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from picows import WSCloseCode, WSListener, WSTransport

from callgate.core.units import SECONDS
from callgate.websocket.keepalive import PING_AFTER, PING_DEADLINE, Keepalive
from callgate.websocket.model_frames import TEXT, ModelFrames, ModelReceiver

from .endpoints import Endpoint

log = logging.getLogger(__name__)

CLOSE_DEADLINE = 2 * SECONDS


class ModelSocket(WSListener):
    """The socket of one open session."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._name = endpoint.name
        self._transport: WSTransport
        self.send: Callable[[bytes], None]  # sends an event; on a closed session it does nothing
        self.confirmed_in = 0.0  # how many seconds it took to confirm its configuration
        self._frames = ModelFrames(endpoint.name)
        # picows looks this up for each frame; set on the instance, the compiled method is found.
        self.on_ws_frame = self._frames.came  # type: ignore[method-assign, assignment]
        self._keepalive = Keepalive(
            self._frames.was_heard, self._ping, self._is_silent, after=PING_AFTER, deadline=PING_DEADLINE
        )

    # Called by its user.

    def adopt(self, receiver: ModelReceiver) -> None:
        """Pass events to ``receiver``, first those that arrived earlier."""
        self._frames.adopt(receiver)

    def release(self) -> None:
        """Stop passing events on: they are kept for the next receiver."""
        self._frames.release()

    @property
    def lost(self) -> str | None:
        """Why nothing more will arrive; None: the session is alive."""
        return self._frames.lost

    @property
    def last_words(self) -> str:
        """The server's own reason for closing the session, which may quote what it was told."""
        return self._frames.last_words

    async def close(self) -> None:
        """Close the session, with or without the server's cooperation, within `CLOSE_DEADLINE`."""
        self.release()
        self._keepalive.stop()
        self._transport.send_close(WSCloseCode.OK)
        gone = asyncio.ensure_future(self._transport.wait_disconnected())
        await asyncio.wait((gone,), timeout=CLOSE_DEADLINE)
        if not gone.done():
            self._transport.disconnect(False)
            await asyncio.wait((gone,))
        if gone.exception() is not None:
            log.debug("The session with %s had ended with %s", self._name, type(gone.exception()).__name__)

    # Called by picows.

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        self.send = partial(transport.send, TEXT)
        self._keepalive.start()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._keepalive.stop()
        self._frames.lose(f"{self._name} closed the session: the connection was lost without a close frame")

    def pause_writing(self) -> None:
        self._frames.is_full()

    def resume_writing(self) -> None:
        self._frames.takes_more()

    # Called by the keepalive.

    def _ping(self) -> None:
        if self.lost is None:
            self._transport.send_ping()
        else:
            self._keepalive.stop()

    def _is_silent(self) -> None:
        self._frames.lose(f"{self._name} answered no ping for {self._keepalive.deadline:.0f} s")
        self._transport.disconnect(False)
