"""The options of a call, as values. The phone has no other settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, NamedTuple

from callgate.core.units import SECONDS

from .orders import Orders
from .simulation.faults import NO_FAULTS, Faults
from .simulation.script import Step
from .simulation.timeline import Event

# The outcome of a <Dial>, as the caller sees it. Twilio's DialCallStatus for "answered" is "completed".
DialOutcome = Literal["answered", "busy", "no-answer", "failed"]

NO_ACCOUNT: Final = "AC" + 32 * "0"
FROM_NUMBER: Final = "+15550001111"  # 555 numbers belong to nobody
TO_NUMBER: Final = "+15550002222"


class Address(NamedTuple):
    """The address of a TCP connection."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TwilioLimits:
    """How long Twilio waits. Source: https://www.twilio.com/docs/usage/webhooks/webhooks-connection-overrides."""

    connect: float = 5 * SECONDS  # TCP and TLS, for a webhook and for a stream
    read: float = 15 * SECONDS  # from the request to the end of the answer
    upgrade: float = 10 * SECONDS  # TLS and the WebSocket upgrade of a stream
    send: float = 10 * SECONDS  # one frame to an app that does not read
    close: float = 5 * SECONDS  # the closing handshake


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneOptions:
    """The options of one call. ``to``: the voice webhook (``https://``), or a stream's URL, as if TwiML had named it.

    All but the first two have defaults.
    """

    to: str
    auth_token: str = field(repr=False)
    script: tuple[Step, ...] = ()
    method: str = "POST"  # of the webhook
    call_sid: str | None = None  # by default, a new one
    direction: str = "inbound"  # or outbound-api, for a call that the app placed: then ``to_number`` is who answers
    orders: Orders | None = None  # the app's updates of the call over the REST API
    account_sid: str = NO_ACCOUNT
    from_number: str = field(default=FROM_NUMBER, repr=False)
    to_number: str = field(default=TO_NUMBER, repr=False)
    parameters: Mapping[str, str] = field(default_factory=dict, repr=False)  # if ``to`` is a stream's URL
    status_callback: str | None = None  # requested when the call is over
    connect_to: Address | None = None  # where all TCP connections go; names and signatures are still the URLs'
    ca: Path | None = None  # trusted instead of the system's store

    greeting: bool = True  # the agent is expected to speak first
    echo: bool = False  # each reply is expected to be the caller's own words
    reply_within: float = 10 * SECONDS
    max_seconds: float = 120 * SECONDS
    dials: tuple[DialOutcome, ...] = ()  # the outcome of each <Dial>, in order; all further ones are answered
    ring_seconds: float = 600 * SECONDS  # the longest that a <Dial> rings, whatever its timeout
    quiet_seconds: float = 0.6 * SECONDS  # an agent that has played nothing for this long has finished
    wait_clip: bytes = field(default=b"", repr=False)  # what the app plays to ask the caller to wait; no reply
    limits: TwilioLimits = TwilioLimits()
    faults: Faults = NO_FAULTS
    on_event: Callable[[Event], None] | None = field(default=None, repr=False)
