"""The model sessions of one call: the one that serves it, the next one, and those being opened or closed."""

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

from .rival import Rival

log = logging.getLogger(__name__)

# Opens, or finds, a model session that knows these turns; a server of this name ("": none) is tried last. Raises
# `UpstreamError`.
Open = Callable[[tuple[Turn, ...], str], Awaitable[ModelSocket]]


class ModelSessions:
    """At most one session serves the call, one is ready to take over (or is a rival), and one is being opened.

    ``open_session``: opens one. ``receiver``: receives what the call's session sends. ``ready``: called when a session
    is ready to be adopted; ``failed``: called with the exception when one could not be opened; ``at_failure``: called
    with the call's session and the reason when it failed. ``context``: for the tasks that open sessions.
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
        self._current: ModelSocket | None = None  # the one that serves the call
        self._next: ModelSocket | None = None  # ready to take over
        self._rival: Rival | None = None  # receives the events of that one, once it was told everything
        self._opening: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def current(self) -> ModelSocket | None:
        """The session that serves the call."""
        return self._current

    @property
    def has_beside(self) -> bool:
        """Whether there is a session beside the one that serves the call, or one is being opened."""
        return self._next is not None or (self._opening is not None and not self._opening.done())

    @property
    def next_confirmed_in(self) -> float:
        """How many seconds the session that is ready took to confirm its configuration."""
        return self._next.confirmed_in if self._next is not None else 0.0

    def open(self, wanted: OpenModel) -> None:
        """Start opening a session. One that is still being opened knows less of the conversation, and is given up."""
        self._give_up_opening()
        self._opening = asyncio.create_task(self._open_next(wanted), context=self._context.copy())

    def adopt(self) -> ModelSocket:
        """Make the session that is ready the call's, which must have none. Its events are received only after this turn
        of the event loop, once the session has been sent what it must know."""
        assert self._next is not None
        model, self._next = self._next, None
        rival, self._rival = self._rival, None
        self._current = model
        self._loop.call_soon(self._listen_to, model, rival)
        return model

    def prime(self, speaks: Callable[[], None], failed: Callable[[str], None]) -> ModelSocket:
        """Make the session that is ready a rival of the call's: see `Rival`. It has to be told everything."""
        assert self._next is not None
        self._rival = Rival(self._next, speaks, failed)
        self._loop.call_soon(self._listen_to_rival, self._rival)
        return self._next

    def drop_beside(self) -> None:
        """Close the session beside the call's, or give up opening it."""
        self._give_up_opening()
        self._opening = None
        if self._next is not None:
            self._close_later(self._next)
            self._next = self._rival = None

    def drop(self, failed_at: str) -> None:
        """Drop the call's session. ``failed_at``: "" if it did not fail."""
        if self._current is not None:
            if failed_at and not self._is_succeeded_at_home():
                self._at_failure(self._current, failed_at)
            self._close_later(self._current)
            self._current = None

    async def close(self) -> None:
        """Close all sessions, and wait until they are closed."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait((self._opening,))
        for model in (self._current, self._next):
            if model is not None:
                self._close_later(model)
        while self._closing:  # an opening that was given up may have one more to close
            await asyncio.wait(self._closing)

    async def _open_next(self, wanted: OpenModel) -> None:
        await asyncio.sleep(wanted.after)
        if self._next is not None:  # it was ready for a pause that did not come
            self._close_later(self._next)
            self._next = self._rival = None
        try:
            avoided = self._current.endpoint.name if wanted.beside and self._current is not None else ""
            model = await self._open_session(wanted.history, avoided)
        except Exception as exc:
            if self._opening is asyncio.current_task():
                self._failed(exc)
            else:
                why = f": {exc}" if isinstance(exc, UpstreamError) else ""  # its text does not quote the call
                log.debug("The abandoned opening of a model session ended: %s%s", type(exc).__name__, why)
            return
        if self._opening is asyncio.current_task():
            self._next = model
            self._ready()
        else:  # it opened just as it was given up
            self._close_later(model)

    def _give_up_opening(self) -> None:
        before = self._opening
        if before is not None and not before.done() and before is not asyncio.current_task():
            before.cancel()
            self._closing.add(before)
            before.add_done_callback(self._closing.discard)

    def _listen_to(self, model: ModelSocket, rival: Rival | None) -> None:
        if model is not self._current:
            return
        if rival is None:
            model.adopt(self._receiver)
        else:
            rival.hand_over(self._receiver, lambda: model is self._current)

    def _listen_to_rival(self, rival: Rival) -> None:
        if rival is self._rival:
            rival.model.adopt(rival)

    def _is_succeeded_at_home(self) -> bool:
        """Whether the session that takes over is one of the same server, which has thus just provided one."""
        before, after = self._current, self._next
        return before is not None and after is not None and before.endpoint.name == after.endpoint.name

    def _close_later(self, model: ModelSocket) -> None:
        model.release()
        closing = asyncio.create_task(model.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
