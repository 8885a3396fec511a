"""Asking Twilio to repeat a webhook, so that it is known to be one of now.

Twilio has signed a webhook, which does not say when: whoever captured a request can send it again. So what was said of
a call that is over changes nothing, and where a webhook does not fit what is known of its call, Twilio is asked to
repeat it, at an address that nobody else can sign (``repeat``: the token in it). That costs a caller of whom we know
too little one round trip, unheard, and whoever captured a request gets nothing for it.
"""

from __future__ import annotations

import logging
import time

from callgate.config.settings import Config
from callgate.core.gate.stream_token import RepeatTokens
from callgate.core.tools.toolbox import NEVER_AWAY, Absences
from callgate.core.wire import twiml
from callgate.errors import RequestRefused

from .registry import Registry

log = logging.getLogger(__name__)


class Repeats:
    """The webhooks that are repeated. ``config`` has at least one auth token."""

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
        """What asks Twilio for a webhook once more: the one of ``path``, with the same counts."""
        log.info("The webhook does not fit what is known of the call: Twilio is asked to repeat it")
        token = self._tokens.issue(call_sid, time.time())
        return twiml.repeat(self._base_url, token, path, resumed, absences, dialed, self._proof)

    def is_one(self, call_sid: str, repeat: str) -> bool:
        """Whether Twilio comes from where `ask_for` sent it, just now and for the first time."""
        if not repeat:
            return False
        try:
            token = self._tokens.read(repeat, time.time())
            if token.call_sid == call_sid:
                self._registry.redeem(token, time.time())
        except RequestRefused as exc:
            log.info("A webhook was repeated that can't be: %s", exc)
            return False
        return token.call_sid == call_sid
