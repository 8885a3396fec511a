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

HALF = 0.5  # of all lines


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
        assigned = self._calls.assigned.call_comes(params)
        if isinstance(assigned, Closed):
            log.info("The call came outside the opening hours: the caller is told so")
            return twiml.closed(assigned.sentence, assigned.language)
        if (why := self._why_not(call_sid)) is not None:
            return self._turn_away(why)
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

    def _why_not(self, call_sid: str) -> str | None:
        """Reserve a line for a call. Return why that can't be done, or None if it is."""
        registry = self._calls.registry
        if not registry.holds(call_sid) and self._pulse.is_overloaded(registry.share):
            return f"This process is overloaded with {registry.live} calls on the line"
        if self._calls.admit(call_sid):
            return None
        if registry.draining:
            return "This process is stopping"
        return f"All {self._calls.config.max_calls} lines are busy (MAX_CALLS)"

    def _turn_away(self, why: str) -> str:
        fallback = self._calls.config.fallback_dial
        what = "is put through to FALLBACK_DIAL" if fallback else "hears that all lines are busy"
        log.warning("%s: the caller %s", why, what)
        return twiml.busy(fallback)

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
        return self._calls.registry.share >= HALF if is_known is None else is_known
