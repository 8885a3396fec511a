"""Puts together what answers Twilio's requests. It knows no web framework: `callgate.web.routes` calls it."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from callgate.agents import AgentBook, Assigned
from callgate.config.settings import Config
from callgate.core.foreign import foreign
from callgate.core.gate.signature import SignatureCheck
from callgate.models.parking import Parking
from callgate.models.upstream import Upstream
from callgate.tools.runner import RunTool, no_tool

from .after_stream import AfterStream
from .calls import ENDED_STATUSES, Calls
from .first_webhook import FirstWebhook
from .ledger import Ledger
from .loop_pulse import Pulse
from .registry import Registry
from .repeats import Repeats
from .streams import Streams

log = logging.getLogger(__name__)


class Switchboard:
    """Decides about calls. ``config`` has at least one auth token (`Config.with_rehearsal_token`).

    ``first_webhook``, ``after_stream`` and ``streams`` answer webhooks; it handles status callbacks itself.
    """

    def __init__(
        self, config: Config, agents: AgentBook, upstream: Upstream, ledger: Ledger, run_tool: RunTool = no_tool
    ) -> None:
        self.config = config
        self.upstream = upstream
        self.ledger = ledger
        self.registry = Registry(config.max_calls)
        self.pulse = Pulse()
        self.signature = SignatureCheck(
            config.twilio_auth_tokens, config.base_url, account_sid=config.twilio_account_sid
        )
        self.assigned = Assigned(agents, has_second_model=len(upstream.endpoints) > 1)
        self.parking = Parking(upstream, config.max_calls)
        calls = Calls(config, self.registry, ledger, self.assigned, self.parking)
        repeats = Repeats(config, self.registry)
        self.streams = Streams(calls, self.signature, upstream, run_tool)
        self.first_webhook = FirstWebhook(calls, repeats, self.streams, self.pulse)
        self.after_stream = AfterStream(calls, repeats, self.streams, self.first_webhook)

    async def __aenter__(self) -> Switchboard:
        self.pulse.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.pulse.stop()
        await self.parking.close()

    def call_status(self, params: Mapping[str, str]) -> None:
        """Handle a call's status callback."""
        status = params.get("CallStatus", "")
        log.info("Call status: %s, after %s s", foreign(status), foreign(params.get("CallDuration", "0")))
        if status in ENDED_STATUSES:
            self.registry.over(params["CallSid"])
            self.parking.drop(params["CallSid"])
            self.assigned.call_ended(params["CallSid"])
            if self.registry.outcome(params["CallSid"]) is None:
                self.ledger.call_over(params["CallSid"], status)

    def stream_status(self, params: Mapping[str, str]) -> None:
        """Handle a stream's status callback, which also reports its errors."""
        event = params.get("StreamEvent", "")
        if event == "stream-error":
            which = foreign(params.get("StreamError", "(it does not say which)"))
            log.error("Twilio reports an error of the stream: %s", which)
        else:
            log.info("Stream status: %s", foreign(event))
