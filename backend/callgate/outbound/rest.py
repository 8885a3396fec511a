"""Twilio's REST API, as far as calls of our own go: placed, asked about, told what to do.

Source: https://www.twilio.com/docs/voice/api/call-resource and …/answering-machine-detection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import requests
from twilio.base.exceptions import TwilioException, TwilioRestException
from twilio.rest import Client
from urllib3.exceptions import NewConnectionError

from callgate.core.foreign import foreign
from callgate.core.gate.call_request import TALK, CallRequest, OutboundRefused
from callgate.core.wire import twiml
from callgate.network.threads import Threads

T = TypeVar("T")

SECONDS = 1
REST_THREADS: Final = 8  # requests at once
RING_LIMIT: Final = 30 * SECONDS
EVENTS: Final = ["initiated", "ringing", "answered", "completed"]
AMD_STATUS: Final = "/amd-status"
OVER: Final = (21220, 20404)  # not in progress any more; not there

_WHAT_TO_DO: Final = {
    20003: "Check TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN: Twilio does not know this pair.",
    20429: "Too many requests: wait a little.",
    21210: "The calling number is not this account's: check TWILIO_PHONE_NUMBER, or verify it in the console.",
    21211: "The number called is not a telephone number: check it.",
    21215: "This account may not call that country: allow it under Voice, Geographic permissions in the console.",
    21217: "The number called is not a telephone number: check it.",
    21219: "A trial account calls only verified numbers: verify the number in the console.",
    13227: "This account may not call that country: allow it under Voice, Geographic permissions in the console.",
}


class CallInDoubt(OutboundRefused):
    """Twilio was asked for a call and has not answered: it may have placed it."""


class TwilioCalls:
    """The calls of the account. ``base_url``: where Twilio finds this service; ``proof``: what its edge is shown.

    Every method raises `OutboundRefused` (502) with what Twilio said; ``client`` bounds how long that takes.
    """

    def __init__(self, client: Client, base_url: str, proof: str = "") -> None:
        self._client, self._base_url = client, base_url
        self._answered = f"{base_url}{twiml.INCOMING}" + (f"?{twiml.PROOF}={proof}" if proof else "")
        self._threads = Threads("Twilio's REST API", REST_THREADS)

    async def create(self, request: CallRequest, from_number: str, language: str | None = None) -> str:
        """Place a call. Returns its CallSid. ``language``: of the message that a machine is left (BCP 47). Raises
        `CallInDoubt` too."""
        parameters: dict[str, Any] = {
            "to": request.to,
            "from_": from_number,
            "url": self._answered,
            "status_callback": f"{self._base_url}/call-status",
            "status_callback_event": EVENTS,
            "timeout": RING_LIMIT,
            "time_limit": request.limit,
            **_detection(request, self._base_url, language),
        }
        call = await self._ask(lambda: self._client.calls.create(**parameters), places=True)
        return str(call.sid)

    async def status(self, call_sid: str) -> str:
        """Twilio's status of a call."""
        return str((await self._ask(lambda: self._client.calls(call_sid).fetch())).status)

    async def hang_up(self, call_sid: str) -> None:
        """End a call, whether it rings or is answered, or is over already."""

        def end() -> None:
            try:
                self._client.calls(call_sid).update(status="completed")
            except TwilioRestException as exc:
                if exc.code not in OVER:
                    raise

        await self._ask(end)

    async def go_on_with(self, call_sid: str, document: str) -> None:
        """Have an answered call go on with this TwiML, at once."""
        await self._ask(lambda: self._client.calls(call_sid).update(twiml=document))

    async def _ask(self, ask: Callable[[], T], *, places: bool = False) -> T:
        """Ask in a thread. ``places``: what is asked for may have been done even where no answer came."""
        try:
            return await self._threads.run(ask)
        except TwilioRestException as exc:
            doubtful = places and exc.status >= 500
            fix = _WHAT_TO_DO.get(exc.code or 0, "See the error code in the Twilio console's documentation.")
            refusal = CallInDoubt if doubtful else OutboundRefused
            raise refusal(502, f"Twilio refused the call with error {exc.code}: {foreign(exc.msg)}", fix) from exc
        except (TwilioException, OSError, ValueError) as exc:  # ValueError: an answer that is no JSON
            if places and not _never_arrived(exc):
                raise CallInDoubt(
                    502,
                    f"Twilio's REST API has not answered: {type(exc).__name__}. The call may have been placed.",
                    "Look into the console's call log before asking again.",
                ) from exc
            raise OutboundRefused(
                502, f"Twilio's REST API can't be reached: {type(exc).__name__}.", "Check this machine's network."
            ) from exc


def _detection(request: CallRequest, base_url: str, language: str | None) -> dict[str, Any]:
    """What has Twilio look whether a machine answers, beside the call. A message needs the end of the greeting."""
    if request.voicemail == TALK:
        return {}
    said = {"message": request.message, "language": language} if request.message else {}
    query = urlencode({name: value for name, value in said.items() if value})
    return {
        "machine_detection": "DetectMessageEnd" if request.message else "Enable",
        "async_amd": "true",
        "async_amd_status_callback": f"{base_url}{AMD_STATUS}?{query}".removesuffix("?"),
    }


def _never_arrived(exc: Exception) -> bool:
    """Whether there was no connection that the request could have gone through."""
    if isinstance(exc, requests.ConnectTimeout | requests.exceptions.SSLError | requests.exceptions.ProxyError):
        return True
    reason = getattr(exc.args[0], "reason", None) if exc.args else None
    return isinstance(exc, requests.ConnectionError) and isinstance(reason, NewConnectionError)
