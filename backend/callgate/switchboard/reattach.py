"""Fetches back calls whose process died while Twilio still has the caller on the line.

Such a call usually comes back by itself when its TwiML goes on to ``/call-interrupted``. For a call that does not, this
module asks Twilio's REST API for its status and has Twilio connect it to a new stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from twilio.rest import Client

from callgate.core.foreign import foreign
from callgate.core.units import SECONDS
from callgate.errors import StoreError
from callgate.network.twilio_rest import NOT_FOUND, TwilioError, TwilioRefused, TwilioRest
from callgate.store import Store

from .ledger import Ledger
from .registry import Registry

log = logging.getLogger(__name__)

COME_BACK_BY_THEMSELVES = 12 * SECONDS  # after the start of this process
LOOK_EVERY = 60 * SECONDS

NOT_ANSWERED = ("queued", "initiated", "ringing")  # an outbound call that may still be picked up
UNKNOWN = "unknown"  # the status of a call that Twilio does not know


class Reattach:
    """Looks for abandoned calls while the service runs. ``client``: None if the settings allow no REST requests.

    ``registry``: the calls of this process. ``twiml``: returns the TwiML that reconnects a call.
    """

    def __init__(
        self, store: Store, ledger: Ledger, registry: Registry, client: Client | None, twiml: Callable[[str], str]
    ) -> None:
        self._store, self._ledger, self._registry, self._twiml = store, ledger, registry, twiml
        self._rest = None if client is None else TwilioRest(client, 1)
        self._claimed: set[str] = set()  # abandoned calls that this process has claimed and not yet fetched back
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Reattach:
        if self._rest is not None:
            self._task = asyncio.create_task(self._run(self._rest))
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _run(self, rest: TwilioRest) -> None:
        await asyncio.sleep(COME_BACK_BY_THEMSELVES)
        while True:
            try:
                for call in await self._store.abandoned():
                    if await self._store.claim(call.call_sid, call.process):
                        self._claimed.add(call.call_sid)
                for call_sid in list(self._claimed):
                    await self._fetch_back(rest, call_sid)
            except StoreError as exc:
                log.debug("Can't look for abandoned calls: %s", exc)
            await asyncio.sleep(LOOK_EVERY)

    async def _fetch_back(self, rest: TwilioRest, call_sid: str) -> None:
        """Have Twilio reconnect a claimed call if it is still on the line and no process serves it. Raises
        `StoreError`."""
        if not await self._is_still_ours(call_sid):
            return
        try:
            status = str((await rest.ask(lambda client: client.calls(call_sid).fetch())).status)
            if status == "in-progress":
                if not await self._is_still_ours(call_sid):  # Twilio's answer may have taken a while
                    return
                # Made here, not in the thread: making the TwiML writes to the journal, which belongs to the event loop.
                twiml = self._twiml(call_sid)
                await rest.ask(lambda client: client.calls(call_sid).update(twiml=twiml))
        except TwilioError as exc:
            if not isinstance(exc, TwilioRefused) or exc.status != NOT_FOUND:
                log.warning("%s was abandoned, and can't be fetched back yet: Twilio's REST API: %s", call_sid, exc)
                return
            status = UNKNOWN
        if status in NOT_ANSWERED:
            return
        self._claimed.discard(call_sid)
        if status == "in-progress":
            log.warning("%s was abandoned by a process that is gone: it is reconnected", call_sid)
        else:
            log.info("%s was abandoned, and is over: Twilio says it is %s", call_sid, foreign(status))
            self._ledger.call_over(call_sid, status)

    async def _is_still_ours(self, call_sid: str) -> bool:
        """Whether a claimed call still has to be fetched back; it may have come back by itself."""
        if await self._store.claim(call_sid, self._store.process) and not self._registry.holds(call_sid):
            return True
        log.info("%s was abandoned, and came back by itself or is over", call_sid)
        self._claimed.discard(call_sid)
        return False
