"""The test call: `callgate.peers.phone` calls as Twilio would, through all that a real call passes through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from callgate.core.units import SECONDS
from callgate.errors import ConfigError
from callgate.peers.phone.call import place_call
from callgate.peers.phone.options import FROM_NUMBER, NO_ACCOUNT, TO_NUMBER, PhoneOptions
from callgate.peers.phone.settings import REHEARSAL
from callgate.peers.phone.simulation.report import broken
from callgate.peers.phone.simulation.script import Speak
from callgate.peers.phone.wav import read_ulaw

from .finding import Finding, ok, skipped, wrong
from .waterfall import of_call
from .world import Case

LONGEST: Final = 60 * SECONDS


async def call(case: Case) -> Sequence[Finding]:
    """Place the call. Its parts are kept for the report."""
    config = case.config
    if not config.twilio_auth_tokens:
        return [skipped("there is no auth token to sign requests with")]
    options = PhoneOptions(
        to=f"{config.base_url}/incoming-call",
        auth_token=config.twilio_auth_tokens[0],
        script=(Speak(read_ulaw(REHEARSAL), REHEARSAL.name),),
        account_sid=config.twilio_account_sid or NO_ACCOUNT,
        from_number=FROM_NUMBER,
        to_number=config.twilio_phone_number or TO_NUMBER,
        status_callback=f"{config.base_url}/call-status",
        connect_to=case.edge,
        ca=case.world.ca,
        max_seconds=LONGEST,
    )
    try:
        report = await place_call(options)
    except ConfigError as exc:
        return [wrong(str(exc), "a test call", "Give another file with --ca")]
    case.parts += of_call(report)
    failed = broken(report.promises)
    if failed:
        return [wrong(promise.happened, promise.what, promise.advice) for promise in failed]
    replied = next((said.latency for said in report.utterances if said.latency is not None), None)
    reply = "" if replied is None else f", and answered after {replied * 1000:.0f} ms"
    return [ok(f"the caller was greeted{reply}")]
