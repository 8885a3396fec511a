"""The socket of one session of the model's: frames out, whole events in, and a sign of life asked for in time."""

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
    """One open session's socket."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._name = endpoint.name
        self._transport: WSTransport
        self.send: Callable[[bytes], None]  # sends an event; to a closed session it does nothing
        self._frames = ModelFrames(endpoint.name)
        # Looked up by picows for each frame: this way it finds what is compiled.
        self.on_ws_frame = self._frames.came  # type: ignore[method-assign, assignment]
        self._keepalive = Keepalive(
            self._frames.was_heard, self._ping, self._is_silent, after=PING_AFTER, deadline=PING_DEADLINE
        )

    # What its user calls.

    def adopt(self, receiver: ModelReceiver) -> None:
        """Give events to ``receiver``, those first that came before."""
        self._frames.adopt(receiver)

    def release(self) -> None:
        """Give events to nobody for now: they are kept for the next who adopts it."""
        self._frames.release()

    @property
    def lost(self) -> str | None:
        """Why nothing more will come of it, if so."""
        return self._frames.lost

    @property
    def last_words(self) -> str:
        """The reason that the server closed it with, in its words, which may quote what it was told."""
        return self._frames.last_words

    async def close(self) -> None:
        """Close the session, with or without the server's help, within `CLOSE_DEADLINE`."""
        self.release()
        self._keepalive.stop()
        self._transport.send_close(WSCloseCode.OK)
        gone = asyncio.ensure_future(self._transport.wait_disconnected())
        await asyncio.wait((gone,), timeout=CLOSE_DEADLINE)
        if not gone.done():
            self._transport.disconnect(False)
            await asyncio.wait((gone,))
        if gone.exception() is not None:
            log.debug("The session of %s had ended with %s", self._name, type(gone.exception()).__name__)

    # What picows calls.

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

    # What the keepalive calls.

    def _ping(self) -> None:
        if self.lost is None:
            self._transport.send_ping()
        else:
            self._keepalive.stop()

    def _is_silent(self) -> None:
        self._frames.lose(f"{self._name} answered no ping for {self._keepalive.deadline:.0f} s")
        self._transport.disconnect(False)
