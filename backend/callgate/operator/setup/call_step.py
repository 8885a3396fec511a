"""The step ``call``: the service places the test call, asked through its public address."""

from __future__ import annotations

import secrets
import time
from typing import Any, Final

from callgate.core.masking import mask_number
from callgate.core.units import SECONDS
from callgate.operator.ask import UnreachableError
from callgate.operator.service import ServiceError, ServiceUnheardError, said

from .account import Account
from .refusal import SetupRefused
from .setup import Setup

ANSWER_WITHIN: Final = 90 * SECONDS  # the service rings for 30 s, and the call may be queued before
ASK_EVERY: Final = 1 * SECONDS
TRIES: Final = 3
TRY_AGAIN_AFTER: Final = 1 * SECONDS
ANSWERED_STATUSES: Final = ("in-progress", "completed")
UNANSWERED_STATUSES: Final = ("busy", "no-answer", "canceled", "failed")


def place_test_call(setup: Setup) -> bool:
    """Run the step. Returns whether a call was placed. Raises `SetupRefused` if the call is not answered."""
    setup.terminal.step("the test call")
    config = setup.settings.config()
    if not config.test_call_to:
        if setup.wanted_call:
            raise SetupRefused(
                "TEST_CALL_TO", found="it is not set", wanted="the number to ring", do="run scripts/setup.sh env start"
            )
        setup.terminal.say("TEST_CALL_TO is not set, so there is no test call. Call the number yourself.")
        return False
    if config.admin_token is None:
        raise SetupRefused("ADMIN_TOKEN", found="it is not set", wanted="a token", do="run scripts/setup.sh env start")
    to = mask_number(config.test_call_to[0])
    if not setup.terminal.confirm(f"Ring {to} now? Twilio and OpenAI charge for the call"):
        setup.terminal.say("No call was placed. To place it: scripts/setup.sh call")
        return False
    call_sid = _place(setup, config.base_url, config.admin_token)
    setup.terminal.say(f"Ringing {to}, call {call_sid}:")
    _wait_until_answered(setup, setup.account(config), call_sid)
    return True


def _place(setup: Setup, base_url: str, admin_token: str) -> str:
    try:
        answer = _ask_until_heard(setup, f"{base_url}/test-call-realtime", admin_token)
        if not isinstance(call_sid := answer.get("call_sid"), str):
            raise ServiceError("Something other than Callgate answers.", "Run scripts/setup.sh start")
    except ServiceError as exc:
        found = f"{exc.error} ({exc.status})" if exc.status else exc.error
        raise SetupRefused("The test call", found=found, wanted="a test call", do=exc.fix) from exc
    return call_sid


def _ask_until_heard(setup: Setup, url: str, admin_token: str) -> dict[str, Any]:
    """Request a call. If the answer is lost, the request is repeated with the same key, so that the call rings only
    once. Raises `ServiceError` if the service refuses."""
    headers = {"Authorization": f"Bearer {admin_token}", "Idempotency-Key": secrets.token_hex(16)}
    found = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(TRY_AGAIN_AFTER)
        try:
            return said(setup.outside.fetch("POST", url, headers))
        except (UnreachableError, ServiceUnheardError) as exc:
            found = exc.error if isinstance(exc, ServiceUnheardError) else str(exc)
    raise SetupRefused(
        url,
        found=f"{found.removesuffix('.')}, {TRIES} times; the number may ring all the same",
        wanted="an answer",
        do="wait a minute; if nothing rings, run scripts/setup.sh cert start call",
    )


def _wait_until_answered(setup: Setup, account: Account, call_sid: str) -> None:
    until, shown = time.monotonic() + ANSWER_WITHIN, ""
    while True:
        status = account.call_status(call_sid)
        if status != shown:
            setup.terminal.say(f"  {status}")
            shown = status
        if status in ANSWERED_STATUSES:
            setup.terminal.say("The call was answered: talk to the agent.")
            return
        if status in UNANSWERED_STATUSES or time.monotonic() > until:
            raise SetupRefused(
                "The test call",
                found=f"it was not answered: {status}" if status in UNANSWERED_STATUSES else f"it is still {status}",
                wanted="somebody to answer it",
                do="run scripts/setup.sh call to ring again; the call's page in the Twilio console says why it failed",
            )
        time.sleep(ASK_EVERY)
