"""Model sessions that are opened at the webhook, so that the caller's stream finds one ready.

Between the TwiML and the stream's ``start``, Twilio takes some time to open the stream: enough for TCP, TLS, the
upgrade and ``session.update``. The session waits under its CallSid. It is closed if the call has not come after
`LIFETIME`; a call whose session could not be opened, or was lost meanwhile, opens its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from callgate.core.agent import Agent
from callgate.core.gate.stream_token import LIFETIME
from callgate.core.turns.briefing import opening, told
from callgate.core.turns.transcript import Turn
from callgate.errors import UpstreamError

from .socket import ModelSocket
from .upstream import Upstream

log = logging.getLogger(__name__)


class Parking:
    """The model sessions that wait for their calls. ``places``: how many there may be."""

    def __init__(self, upstream: Upstream, places: int) -> None:
        self._upstream = upstream
        self._places = places
        self._waiting: dict[str, asyncio.Task[ModelSocket | None]] = {}  # by CallSid
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """How many sessions wait, or are being opened."""
        return len(self._waiting)

    def open(self, call_sid: str, agent: Agent, history: tuple[Turn, ...] = ()) -> None:
        """Start opening a session for a call, if it has none and there is room. ``history``: what was said so far."""
        if call_sid in self._waiting or len(self._waiting) >= self._places:
            return
        self._waiting[call_sid] = asyncio.create_task(self._open_ahead(agent, history))
        self._timers[call_sid] = asyncio.get_running_loop().call_later(LIFETIME, self.drop, call_sid)

    async def take(self, call_sid: str, agent: Agent, history: tuple[Turn, ...], avoided: str = "") -> ModelSocket:
        """Return a session that is configured for the agent: the one that waits for the call, or a new one, which is
        told ``history``. ``avoided``: the name of a server that is tried last. Raises `UpstreamError` if no server
        provides one."""
        return await self._take_waiting(call_sid) or await self._open(agent, history, avoided)

    async def _take_waiting(self, call_sid: str) -> ModelSocket | None:
        """Return the session that waits for the call; None if there is none, or it is not usable."""
        opened = self._remove(call_sid)
        if opened is None:
            return None
        try:
            model = await opened
        except asyncio.CancelledError:
            self._end(opened)
            raise
        if model is not None and model.lost is not None:
            log.warning("The model session opened for the call was lost: %s", model.lost)
            self._end(opened)
            return None
        return model

    def drop(self, call_sid: str) -> None:
        """Close a call's session, if it has one: the call ended or did not come."""
        opened = self._remove(call_sid)
        if opened is not None:
            log.info("The model session opened for %s is closed: the call did not come", call_sid)
            self._end(opened)

    async def close(self) -> None:
        """Close all sessions that wait."""
        for call_sid in list(self._waiting):
            self.drop(call_sid)
        await asyncio.gather(*self._leaving)

    async def _open(self, agent: Agent, history: tuple[Turn, ...], avoided: str = "") -> ModelSocket:
        return await self._upstream.open((opening(agent), *told(history)), agent.model, avoided)

    async def _open_ahead(self, agent: Agent, history: tuple[Turn, ...]) -> ModelSocket | None:
        try:
            return await self._open(agent, history)
        except UpstreamError as exc:
            log.warning("No model session could be opened ahead of the call: %s", exc)
            return None

    def _remove(self, call_sid: str) -> asyncio.Task[ModelSocket | None] | None:
        if (timer := self._timers.pop(call_sid, None)) is not None:
            timer.cancel()
        return self._waiting.pop(call_sid, None)

    def _end(self, opened: asyncio.Task[ModelSocket | None]) -> None:
        ending = asyncio.create_task(_end(opened))
        self._leaving.add(ending)
        ending.add_done_callback(self._leaving.discard)


async def _end(opened: asyncio.Task[ModelSocket | None]) -> None:
    opened.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        if (model := await opened) is not None:
            await model.close()
