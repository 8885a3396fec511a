"""What this process knows of its calls, for the code that answers their webhooks and serves their streams."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from callgate.agents import Assigned
from callgate.config.settings import Config
from callgate.models.parking import Parking

from .ledger import Ledger
from .registry import Registry

log = logging.getLogger(__name__)

ENDED_STATUSES: Final = frozenset({"completed", "busy", "failed", "no-answer", "canceled"})


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of this process. ``registry``: which calls there are; ``ledger``: what is on record; ``assigned``: the
    agent of each call; ``parking``: the model sessions that wait for them."""

    config: Config
    registry: Registry
    ledger: Ledger
    assigned: Assigned
    parking: Parking

    def admit(self, call_sid: str) -> bool:
        """Reserve a line for a call. Return whether one was free."""
        return self.registry.admit(call_sid, time.time())

    def is_over(self, params: Mapping[str, str]) -> bool:
        """Whether Twilio has said, in this request or earlier to this process, that the call is over."""
        is_over = params.get("CallStatus") in ENDED_STATUSES or self.registry.is_over(params["CallSid"])
        if is_over:
            log.info("The call is over: this webhook changes nothing")
        return is_over
