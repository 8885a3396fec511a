"""The services that the routes use, each created once for the life of the application."""

from __future__ import annotations

from typing import Any

from twilio.http import HttpClient
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from callgate.agents import AgentBook
from callgate.config.settings import Config
from callgate.core.gate.once import Signatures
from callgate.logs.setup import dropped_lines
from callgate.models.upstream import Upstream
from callgate.outbound.calls import REST_DEADLINE, Outbound
from callgate.store import Store
from callgate.switchboard.ledger import Ledger
from callgate.switchboard.reattach import Reattach
from callgate.switchboard.switchboard import Switchboard
from callgate.tools.http_tools import HttpTools

SIGNATURES_KEPT = 20_000  # Twilio's latest signatures, remembered so that each callback counts once


class Services:
    """The switchboard, the outbound calls, and the service's readiness."""

    def __init__(
        self, config: Config, agents: AgentBook, upstream: Upstream, store: Store, http_client: HttpClient | None
    ) -> None:
        ledger = Ledger(store)
        self.store = store
        self.signatures = Signatures(SIGNATURES_KEPT)
        self.switchboard = Switchboard(config, agents, upstream, ledger, HttpTools(config.http_tools_allow).run)
        client = _rest_client(config, http_client)
        self.outbound = Outbound(config, store, self.switchboard, client)
        self.reattach = Reattach(store, ledger, self.switchboard.registry, client, self.switchboard.streams.reconnect)

    def readiness(self) -> dict[str, Any]:
        """Return whether a call would be answered now. ``problems``: why not; ``warnings``: what else is wrong; one
        sentence each."""
        registry, pulse = self.switchboard.registry, self.switchboard.pulse
        problems, warnings = [], []
        if registry.draining:
            problems.append("The service is stopping: it takes no more calls.")
        late = f"late by up to {pulse.lateness * 1000:.0f} ms"
        if pulse.is_overloaded(registry.share):
            problems.append(f"The process is overloaded, its event loop {late}: give it more cores.")
        elif pulse.is_late:
            warnings.append(f"The event loop is {late} with few calls: something else uses the machine.")
        if failure := self.switchboard.upstream.failure:
            problems.append(f"The last model session could not be opened: {failure}")
        journal = self.store.journal
        if failure := journal.failure:
            warnings.append(failure)
        if journal.lost:
            warnings.append(f"{journal.lost} entries of the record of calls were lost.")
        if dropped := dropped_lines():
            warnings.append(f"{dropped} lines of the log were dropped: the reader did not keep up.")
        state = {"live_calls": registry.live, "waiting_sessions": self.switchboard.parking.waiting}
        return {"ready": not problems, **state, "problems": problems, "warnings": warnings}


def _rest_client(config: Config, http_client: HttpClient | None) -> Client | None:
    """Return a client of Twilio's REST API; None if the settings allow no requests."""
    if config.twilio_account_sid is None or config.rehearsal:
        return None
    http_client = http_client or TwilioHttpClient(timeout=REST_DEADLINE)  # the default client has no timeout
    return Client(config.twilio_account_sid, config.twilio_auth_tokens[0], http_client=http_client)
