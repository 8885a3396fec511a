"""Outbound calls in Twilio's REST API: create them, get their status, and change what they do.

Source: https://www.twilio.com/docs/voice/api/call-resource and …/answering-machine-detection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from twilio.rest import Client

from callgate.core.gate.call_request import VOICEMAIL_TALK, CallRequest
from callgate.core.wire import twiml
from callgate.errors import OutboundRefused
from callgate.network.twilio_rest import TwilioError, TwilioRefused, TwilioRest

T = TypeVar("T")

REST_THREADS: Final = 8  # concurrent requests
RING_LIMIT: Final = 30  # seconds
EVENTS: Final = ["initiated", "ringing", "answered", "completed"]
AMD_STATUS: Final = "/amd-status"
OVER: Final = (21220, 20404)  # Twilio's errors: not in progress any more; not found

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


class CallInDoubtError(OutboundRefused):
    """Twilio was asked for a call and has not answered: the call may have been placed."""


class TwilioCalls:
    """The calls of the account. ``base_url``: this service's public URL; ``proof``: the proof for its edge.

    Every method raises `OutboundRefused` (502) with Twilio's message. ``client`` has the timeout.
    """

    def __init__(self, client: Client, base_url: str, proof: str = "") -> None:
        self._rest, self._base_url = TwilioRest(client, REST_THREADS), base_url
        self._answered = f"{base_url}{twiml.INCOMING}" + (f"?{twiml.PROOF}={proof}" if proof else "")

    async def create(self, request: CallRequest, from_number: str, language: str | None = None) -> str:
        """Place a call and return its CallSid. ``language``: of the message to leave on a machine (BCP 47). Raises also
        `CallInDoubtError`."""
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
        call = await self._ask(lambda client: client.calls.create(**parameters), places=True)
        return str(call.sid)

    async def status(self, call_sid: str) -> str:
        """Return Twilio's status of a call."""
        return str((await self._ask(lambda client: client.calls(call_sid).fetch())).status)

    async def hang_up(self, call_sid: str) -> None:
        """End a call, whether it is ringing, answered or over already."""
        try:
            await self._rest.ask(lambda client: client.calls(call_sid).update(status="completed"))
        except TwilioError as exc:
            if not isinstance(exc, TwilioRefused) or exc.code not in OVER:
                raise _refusal(exc) from exc

    async def go_on_with(self, call_sid: str, document: str) -> None:
        """Make an answered call continue with this TwiML at once."""
        await self._ask(lambda client: client.calls(call_sid).update(twiml=document))

    async def _ask(self, request: Callable[[Client], T], *, places: bool = False) -> T:
        """Send a request. ``places``: it places a call, which may have been placed even if no answer came."""
        try:
            return await self._rest.ask(request)
        except TwilioError as exc:
            raise _refusal(exc, places=places) from exc


def _refusal(exc: TwilioError, *, places: bool = False) -> OutboundRefused:
    in_doubt = places and exc.in_doubt
    if isinstance(exc, TwilioRefused):
        error = f"Twilio refused the call with error {exc.code or exc.status}: {exc.message}"
        fix = _WHAT_TO_DO.get(exc.code, "See the error code in the Twilio console's documentation.")
    elif in_doubt:
        error = f"Twilio's REST API has not answered: {exc}. The call may have been placed."
        fix = "Look into the console's call log before asking again."
    else:
        error, fix = f"Twilio's REST API can't be reached: {exc}.", "Check this machine's network."
    return (CallInDoubtError if in_doubt else OutboundRefused)(502, error, fix)


def _detection(request: CallRequest, base_url: str, language: str | None) -> dict[str, Any]:
    """Return the parameters for asynchronous answering machine detection. Leaving a message requires detecting the end
    of the greeting."""
    if request.voicemail == VOICEMAIL_TALK:
        return {}
    said = {"message": request.message, "language": language} if request.message else {}
    query = urlencode({name: value for name, value in said.items() if value})
    return {
        "machine_detection": "DetectMessageEnd" if request.message else "Enable",
        "async_amd": "true",
        "async_amd_status_callback": f"{base_url}{AMD_STATUS}?{query}".removesuffix("?"),
    }
