"""Asks Twilio to repeat a webhook, to be sure that it is fresh.

Twilio's signature on a webhook carries no time, so anyone who captured a request can replay it. Therefore a webhook of
a call that is over changes nothing, and a webhook that does not fit what is known of its call is answered with a
redirect to a URL with a new token (``repeat``), which only Twilio can sign. A caller of whom this process knows too
little waits one round trip, which is not heard, and a replayed request achieves nothing.
"""

from __future__ import annotations

import logging
import time

from callgate.config.settings import Config
from callgate.core.absences import NEVER_AWAY, Absences
from callgate.core.gate.stream_token import RepeatTokens
from callgate.core.wire import twiml
from callgate.errors import RequestRefused

from .registry import Registry

log = logging.getLogger(__name__)


class Repeats:
    """Issues and checks repeat tokens. ``config`` has at least one auth token."""

    def __init__(self, config: Config, registry: Registry) -> None:
        self._base_url, self._proof = config.base_url, config.edge_proof
        self._tokens = RepeatTokens(config.twilio_auth_tokens)
        self._registry = registry

    def ask_for(
        self,
        call_sid: str,
        path: str,
        resumed: int = 0,
        absences: Absences = NEVER_AWAY,
        dialed: str = "",
    ) -> str:
        """Return TwiML that has Twilio send the webhook for ``path`` again, with the same counts."""
        log.info("The webhook does not fit what is known of the call: Twilio is asked to repeat it")
        token = self._tokens.issue(call_sid, time.time())
        return twiml.repeat(self._base_url, token, path, resumed, absences, dialed, self._proof)

    def is_one(self, call_sid: str, repeat: str) -> bool:
        """Whether this request answers a recent `ask_for` of this call, for the first time."""
        if not repeat:
            return False
        try:
            token = self._tokens.read(repeat, time.time())
            if token.call_sid == call_sid:
                self._registry.redeem(token, time.time())
        except RequestRefused as exc:
            log.info("A repeated webhook is not accepted: %s", exc)
            return False
        return token.call_sid == call_sid
