"""The answer to Twilio when a call comes in, or when a call that we placed is picked up."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from callgate.agents import Closed
from callgate.core.masking import mask_caller, mask_number
from callgate.core.wire import twiml

from .calls import Calls
from .loop_pulse import Pulse
from .repeats import Repeats
from .streams import Streams

log = logging.getLogger(__name__)


class FirstWebhook:
    """Admits calls. The methods take the parameters of a verified Twilio request."""

    def __init__(self, calls: Calls, repeats: Repeats, streams: Streams, pulse: Pulse) -> None:
        self._calls, self._repeats, self._streams, self._pulse = calls, repeats, streams, pulse

    async def answer(self, params: Mapping[str, str], repeat: str = "") -> str:
        """Return the TwiML for a call that comes in, or for one that we placed and that was picked up. ``repeat``: the
        token in the URL if Twilio was asked to repeat the request."""
        call_sid = params["CallSid"]
        if self._calls.is_over(params):
            return twiml.hang_up()
        if await self._came_before(call_sid) and not self._repeats.is_one(call_sid, repeat):
            return self._repeats.ask_for(call_sid, twiml.INCOMING)
        log.info("Call from %s to %s", mask_caller(params.get("From", "")), mask_number(params.get("To", "")))
        if self._pulse.is_late:
            log.warning("The caller is told that all lines are busy: this process is overloaded")
            return twiml.busy()
        assigned = self._calls.assigned.call_comes(params)
        if isinstance(assigned, Closed):
            log.info("The call came outside the opening hours: the caller is told so")
            return twiml.closed(assigned.sentence, assigned.language)
        if not self._calls.admit(call_sid):
            log.warning("All %d lines are busy: the caller is told so (MAX_CALLS)", self._calls.config.max_calls)
            return twiml.busy()
        document = self._streams.connect(call_sid, consent=assigned.agent.consent or "")
        self._calls.parking.open(call_sid, assigned.agent)
        self._calls.ledger.call_came(params)
        return document

    def expect(self, params: Mapping[str, str], ended: str | None = None) -> None:
        """Reserve a line for a call that we placed, and open the model's session before it is picked up.

        ``ended``: the call's final status if it has ended already; then it is only recorded.
        """
        self._calls.ledger.call_came(params)
        if ended is not None:
            self._calls.ledger.call_over(params["CallSid"], ended)
            return
        assigned = self._calls.assigned.call_comes(params)
        if isinstance(assigned, Closed) or self._calls.registry.holds(params["CallSid"]):
            return
        if self._calls.admit(params["CallSid"]):
            self._calls.parking.open(params["CallSid"], assigned.agent)

    async def _came_before(self, call_sid: str) -> bool:
        """Whether the call's first webhook was answered before.

        The answer is no while the call's stream is still awaited, because the first answer may have been lost. If the
        store can't be asked, every call counts as a repeated one once half of the lines are taken.
        """
        if self._calls.registry.generation(call_sid) is not None:
            return True
        if self._calls.registry.holds(call_sid):
            return False
        if self._calls.registry.came(call_sid):
            return True
        is_known = await self._calls.ledger.knows(call_sid)
        return self._calls.registry.is_half_full if is_known is None else is_known
