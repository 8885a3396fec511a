"""The test call: rings a number of the operator's own through Twilio's REST API. Calls cost money, so it is guarded."""

from __future__ import annotations

import asyncio
import hmac
import logging
from dataclasses import dataclass
from typing import Any

from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.http import HttpClient
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from .config import Config
from .errors import CallgateError
from .logs import mask_number

log = logging.getLogger(__name__)

SECONDS = 1
REST_DEADLINE = 10 * SECONDS
RING_LIMIT = 30 * SECONDS
CALL_LIMIT = 600 * SECONDS

_WHAT_TO_DO = {
    20003: "Check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN: Twilio does not know this pair.",
    20429: "Too many requests: wait a little.",
    21210: "TWILIO_PHONE_NUMBER is not a number of this account: buy it, or verify it in the console.",
    21211: "The number called is not a telephone number: check TEST_CALL_TO.",
    21215: "This account may not call that country: allow it under Voice, Geographic permissions in the console.",
    21217: "The number called is not a telephone number: check TEST_CALL_TO.",
    21219: "A trial account calls only verified numbers: verify the number in the console.",
    13227: "This account may not call that country: allow it under Voice, Geographic permissions in the console.",
}


@dataclass(frozen=True, slots=True)
class TestCallRefused(CallgateError):
    """The test call is not placed. ``status``: the HTTP status to answer with; ``fix``: what to do about it."""

    status: int
    error: str
    fix: str

    def __str__(self) -> str:
        return f"{self.error} {self.fix}"


class TestCalls:
    """Places test calls. ``http_client``: how Twilio is reached, its own client by default."""

    def __init__(self, config: Config, http_client: HttpClient | None = None) -> None:
        self._config = config
        self._http_client = http_client or TwilioHttpClient(timeout=REST_DEADLINE)

    async def place(self, authorization: str | None, to: str | None) -> dict[str, Any]:
        """Ring ``to``, or the first number of ``TEST_CALL_TO``. Raises `TestCallRefused`."""
        self._check_who_asks(authorization)
        to = self._check_number(to)
        client = self._client()
        try:
            call_sid = await asyncio.to_thread(self._create, client, to)
        except TwilioRestException as exc:
            fix = _WHAT_TO_DO.get(exc.code or 0, "See the error code in the Twilio console's documentation.")
            raise TestCallRefused(502, f"Twilio refused the call with error {exc.code}: {exc.msg}", fix) from exc
        except (TwilioException, OSError) as exc:
            raise TestCallRefused(
                502, f"Twilio's REST API can't be reached: {type(exc).__name__}.", "Check this machine's network."
            ) from exc
        log.info("Test call %s to %s is placed", call_sid, mask_number(to))
        return {"ok": True, "call_sid": call_sid, "to": mask_number(to)}

    def _create(self, client: Client, to: str) -> str:
        base_url = self._config.base_url
        call = client.calls.create(
            to=to,
            from_=self._config.twilio_phone_number,
            url=f"{base_url}/incoming-call",
            status_callback=f"{base_url}/call-status",
            status_callback_event=["initiated", "ringing", "answered", "completed"],
            timeout=RING_LIMIT,
            time_limit=CALL_LIMIT,
        )
        return str(call.sid)

    def _check_who_asks(self, authorization: str | None) -> None:
        token = self._config.admin_token
        if token is None:
            raise TestCallRefused(403, "ADMIN_TOKEN is not set.", "Set it in .env to a long random text, and restart.")
        if not hmac.compare_digest((authorization or "").encode(), f"Bearer {token}".encode()):
            raise TestCallRefused(
                401, "This needs the admin token.", 'Send the header "Authorization: Bearer" with the ADMIN_TOKEN.'
            )

    def _check_number(self, to: str | None) -> str:
        allowed = self._config.test_call_to
        if not allowed:
            raise TestCallRefused(403, "TEST_CALL_TO is not set.", "Set it in .env to the number to ring, and restart.")
        if to is None:
            return allowed[0]
        number = "+" + "".join(filter(str.isdecimal, to))
        if number not in allowed:
            raise TestCallRefused(403, "This number is not listed in TEST_CALL_TO.", "Add it there, and restart.")
        return number

    def _client(self) -> Client:
        config = self._config
        found = {
            "TWILIO_ACCOUNT_SID": config.twilio_account_sid,
            "TWILIO_AUTH_TOKEN": None if config.rehearsal else config.twilio_auth_tokens[0],
            "TWILIO_PHONE_NUMBER": config.twilio_phone_number,
        }
        missing = [name for name, value in found.items() if value is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise TestCallRefused(
                503, f"{', '.join(missing)} {verb} not set.", "Set what is missing in .env from the Twilio console."
            )
        return Client(config.twilio_account_sid, config.twilio_auth_tokens[0], http_client=self._http_client)
