"""The sessions of the model's that one call has: the one that is the call's, and those that come and go beside it."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable

from callgate.core.turns.commands import OpenModel
from callgate.core.turns.transcript import Turn
from callgate.errors import UpstreamError
from callgate.models.socket import ModelSocket
from callgate.websocket.model_frames import ModelReceiver

log = logging.getLogger(__name__)

# Opens a session of the model's that knows these turns, or finds one. Raises `UpstreamError`.
Open = Callable[[tuple[Turn, ...]], Awaitable[ModelSocket]]


class ModelSessions:
    """At most one is the call's, one is ready to become it, and one is being opened.

    ``open_session``: opens one. ``receiver``: who is given what the call's says. ``ready``: is called when one is ready
    to be adopted; ``failed``: when one could not be opened, with why; ``at_failure``: when the call's failed, with at
    what. ``context``: of the tasks that open one.
    """

    def __init__(
        self,
        open_session: Open,
        receiver: ModelReceiver,
        ready: Callable[[], None],
        failed: Callable[[Exception], None],
        at_failure: Callable[[ModelSocket, str], None],
        context: contextvars.Context,
    ) -> None:
        self._open_session = open_session
        self._receiver = receiver
        self._ready = ready
        self._failed = failed
        self._at_failure = at_failure
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._current: ModelSocket | None = None  # the call's
        self._next: ModelSocket | None = None  # ready to become the call's
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> ModelSocket | None:
        """The call's."""
        return self._current

    def open(self, wanted: OpenModel) -> None:
        """Begin to open a session; one that is being opened knows less, and is given up."""
        before = self._opening
        if before is not None and not before.done() and before is not asyncio.current_task():
            before.cancel()
            self._closing.add(before)
            before.add_done_callback(self._closing.discard)
        self._opening = asyncio.create_task(self._open_next(wanted), context=self._context.copy())

    def adopt(self) -> ModelSocket:
        """Make the session that is ready the call's, which has none. It is listened to behind what it is told in this
        turn of the event loop."""
        assert self._next is not None
        model, self._next = self._next, None
        self._current = model
        self._loop.call_soon(self._listen_to, model)
        return model

    def drop(self, failed_at: str) -> None:
        """The call's session is not the call's any more. ``failed_at``: "" where it did not fail."""
        if self._current is not None:
            if failed_at:
                self._at_failure(self._current, failed_at)
            self._close_later(self._current)
            self._current = None

    async def close(self) -> None:
        """Close all of them, and wait until they are."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait((self._opening,))
        for model in (self._current, self._next):
            if model is not None:
                self._close_later(model)
        while self._closing:  # an opening that is given up may have one more to close
            await asyncio.wait(self._closing)

    async def _open_next(self, wanted: OpenModel) -> None:
        await asyncio.sleep(wanted.after)
        if self._next is not None:  # a session that was ready for a pause which did not come
            self._close_later(self._next)
            self._next = None
        try:
            model = await self._open_session(wanted.history)
        except Exception as exc:
            if self._opening is asyncio.current_task():
                self._failed(exc)
            else:
                why = f": {exc}" if isinstance(exc, UpstreamError) else ""  # whose text quotes nothing that was said
                log.debug("The opening of a model session that was given up ended: %s%s", type(exc).__name__, why)
            return
        if self._opening is asyncio.current_task():
            self._next = model
            self._ready()
        else:  # it came in the moment in which it was given up
            self._close_later(model)

    def _listen_to(self, model: ModelSocket) -> None:
        if model is self._current:
            model.adopt(self._receiver)

    def _close_later(self, model: ModelSocket) -> None:
        model.release()
        closing = asyncio.create_task(model.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
