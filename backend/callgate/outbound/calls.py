"""Places outbound calls through Twilio's REST API: for authorised requests, to allowed numbers, at a limited rate.

Calls cost money, and a stolen token is used at night. So a request is checked, in this order, for the admin token, the
number, its idempotency key, the limits per minute and per day, and a free line; every refusal is logged. The agent's
model session is opened while the call rings.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any, Final

from twilio.rest import Client

from callgate.config.settings import Config
from callgate.core.foreign import foreign
from callgate.core.gate.call_request import VOICEMAIL_TALK, CallRequest, read_request
from callgate.core.gate.numbers import read_number, why_denied
from callgate.core.masking import mask_number
from callgate.core.units import SECONDS
from callgate.core.wire import twiml
from callgate.errors import OutboundRefused, StoreError
from callgate.store import Store
from callgate.store.placements import Caps
from callgate.switchboard.switchboard import Switchboard

from .placing import Placing
from .progress import PlacedCalls, Progress
from .twilio_calls import TwilioCalls

log = logging.getLogger(__name__)

REST_DEADLINE: Final = 10 * SECONDS
# Every response is sent before nginx, or another proxy or tunnel, gives up on it (proxy_read_timeout, 10 s).
ANSWER_DEADLINE: Final = 8 * SECONDS  # for a request that needs Twilio's answer
LONGEST_WAIT: Final = 6 * SECONDS  # for news of a call, per request
ASK_TWILIO_AFTER: Final = 3 * SECONDS  # without news, which may have gone to another process or got lost
RECEIPT_DEADLINE: Final = 3 * SECONDS  # after the call's end; its stream may end a moment later

Answer = dict[str, Any]


class Outbound:
    """Places calls, reports how they are going, and ends them. ``client``: None if the settings allow no REST requests.

    As a context manager, it waits on exit for requests that Twilio has not answered yet.
    """

    def __init__(self, config: Config, store: Store, switchboard: Switchboard, client: Client | None) -> None:
        self._config, self._store = config, store
        self._twilio = None if client is None else TwilioCalls(client, config.base_url, config.edge_proof)
        self._calls = PlacedCalls()
        caps = Caps(config.outbound_rate, config.outbound_daily_cap)
        account_sid = config.twilio_account_sid or ""
        self._placing = Placing(store.placements, caps, switchboard, account_sid, self._calls.ended)

    async def __aenter__(self) -> Outbound:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._placing.close(REST_DEADLINE)

    # Requests of the operator. Each method raises `OutboundRefused` and logs why. All but the first are called only
    # after the admin token was checked.

    def check_who_asks(self, authorization: str | None) -> None:
        """Check the admin token, before anything else of a request is read."""
        with _logged(None):
            self._check_token(authorization)

    async def test_call(self, to: object, key: str | None = None) -> Answer:
        """Call ``to``, or the first number of ``TEST_CALL_TO``. Whoever answers talks to the agent: there is no
        answering machine detection."""
        allowed = self._config.test_call_to
        with _logged(to):
            if not allowed:
                raise OutboundRefused(403, "TEST_CALL_TO is not set.", "Set it in .env to the number to ring.")
            number = allowed[0] if to is None else read_number(to) if isinstance(to, str) else None
            if number not in allowed:
                raise OutboundRefused(403, "This number is not listed in TEST_CALL_TO.", "Add it there, and restart.")
            return await self._place(
                CallRequest(to=number, voicemail=VOICEMAIL_TALK, limit=self._config.outbound_seconds), key
            )

    async def call(self, request: Mapping[str, Any], key: str | None = None) -> Answer:
        """Place a call, with the fields that `read_request` takes. ``key``: the idempotency key; a request with the
        same key is about the same call."""
        with _logged(request.get("to")):
            wanted = read_request(request, self._config.voicemail, self._config.outbound_seconds)
            self._check_number(wanted.to, {*self._config.outbound_allow, *self._config.test_call_to})
            return await self._place(wanted, key)

    async def news(self, call_sid: str, after: int, wait: float) -> Answer:
        """Return a call's status and its events later than number ``after``, as soon as there are any or after ``wait``
        seconds. If the call is over, its receipt is included."""
        with _logged(None):
            progress = await self._known(call_sid)
        until = time.monotonic() + min(max(0.0, wait), LONGEST_WAIT)
        while not await progress.wait(after, min(ASK_TWILIO_AFTER, until - time.monotonic())) and not progress.over:
            if time.monotonic() >= until:
                break
            with contextlib.suppress(OutboundRefused, TimeoutError):
                async with asyncio.timeout(until - time.monotonic()):
                    progress.stands(await self._rest().status(call_sid))
        receipt = await self._receipt(progress) if progress.over else None
        return {"ok": True, **progress.as_dict(after), "receipt": receipt}

    async def hang_up(self, call_sid: str) -> Answer:
        """End an outbound call."""
        with _logged(None):
            await self._known(call_sid)
            async with _in_time("It is not known yet whether the call is ended.", "Ask again."):
                await self._rest().hang_up(call_sid)
        log.info("Outbound call %s is ended on request", call_sid)
        return {"ok": True, "call_sid": call_sid}

    # Twilio's callbacks. ``params`` are those of a verified request.

    def status(self, params: Mapping[str, str]) -> None:
        """Take note of a call's status. Inbound calls are passed too."""
        outbound = params.get("Direction", "").startswith("outbound")
        progress = self._calls.follow(params["CallSid"]) if outbound else self._calls.get(params["CallSid"])
        if progress is not None:
            progress.stands(params.get("CallStatus", ""), params.get("CallDuration", "0"))

    def stream(self, params: Mapping[str, str]) -> None:
        """Take note of a stream's status."""
        progress = self._calls.get(params["CallSid"])
        if progress is not None and params.get("StreamEvent") == "stream-started":
            progress.talks()

    async def answered_by(self, params: Mapping[str, str], message: str | None, language: str | None = None) -> None:
        """Act on who has answered: leave a machine the ``message``, in ``language``, or hang up; hang up on a fax."""
        call_sid, who = params["CallSid"], params.get("AnsweredBy", "unknown")
        progress = self._calls.get(call_sid)
        if progress is not None:
            if progress.answered_by is not None or progress.over:
                log.info("It is known who answered the call, or the call is over: nothing is done")
                return
            progress.answered(who)
        kind, shown = who.partition("_")[0], foreign(who)
        if kind not in ("machine", "fax"):
            log.info("The call was answered by: %s", shown)
            return
        leaves_message = message is not None and who.startswith("machine_end")
        log.info("The call was answered by: %s: %s", shown, "a message is left" if leaves_message else "it is ended")
        if progress is not None:  # before the request: Twilio's callback for the end may come before its response
            progress.happened("message" if leaves_message else "hung up")
        try:
            if message is not None and leaves_message:
                await self._rest().go_on_with(call_sid, twiml.leave_message(message, language))
            else:
                await self._rest().hang_up(call_sid)
        except OutboundRefused as exc:
            log.warning("%s can't be ended, unless it is over: %s", call_sid, exc.error)

    async def _place(self, request: CallRequest, key: str | None) -> Answer:
        from_number = self._from_number(request)
        async with _in_time(
            "Twilio has not answered yet: the call may be placed.",
            "Ask again with the same Idempotency-Key; without one, look into the console's call log first.",
        ):
            placed = await self._placing.once(self._rest(), request, from_number, key)
        self._calls.follow(placed.call_sid)
        return {"ok": True, "call_sid": placed.call_sid, "to": mask_number(request.to), "again": placed.again}

    # Checks and look-ups.

    def _check_token(self, authorization: str | None) -> None:
        token = self._config.admin_token
        if token is None:
            raise OutboundRefused(403, "ADMIN_TOKEN is not set.", "Set it in .env to a long random text, and restart.")
        if not hmac.compare_digest((authorization or "").encode(), f"Bearer {token}".encode()):
            raise OutboundRefused(
                401, "This needs the admin token.", 'Send the header "Authorization: Bearer" with the ADMIN_TOKEN.'
            )

    def _check_number(self, number: str, allowed: Collection[str]) -> None:
        if why := why_denied(number, allowed):
            raise OutboundRefused(403, f"This number may not be called: {why}.", "See docs/outbound.md.")

    def _from_number(self, request: CallRequest) -> str:
        config = self._config
        found = {
            "TWILIO_ACCOUNT_SID": config.twilio_account_sid,
            "TWILIO_AUTH_TOKEN": None if config.rehearsal else config.twilio_auth_tokens[0],
            "TWILIO_PHONE_NUMBER": request.from_number or config.twilio_phone_number,
        }
        missing = [name for name, value in found.items() if value is None]
        if missing:
            verb = "is" if len(missing) == 1 else "are"
            raise OutboundRefused(
                503, f"{', '.join(missing)} {verb} not set.", "Set what is missing in .env from the Twilio console."
            )
        return str(found["TWILIO_PHONE_NUMBER"])

    def _rest(self) -> TwilioCalls:
        if self._twilio is None:
            raise OutboundRefused(503, "Twilio's REST API is not set up.", "Set TWILIO_ACCOUNT_SID and the token.")
        return self._twilio

    async def _known(self, call_sid: str) -> Progress:
        """Return the progress of a call that was placed by this or another process of the service."""
        if (progress := self._calls.get(call_sid)) is not None:
            return progress
        try:
            if await self._store.placements.has(call_sid):
                return self._calls.follow(call_sid)
        except StoreError as exc:
            raise OutboundRefused(503, f"The store can't be read: {exc}", "Repair the store.", retry_after=30) from exc
        raise OutboundRefused(404, "No such call was placed here in the last day.", "Check the CallSid.")

    async def _receipt(self, progress: Progress) -> Mapping[str, Any] | None:
        """Return the receipt of a call that is over, if the store has it."""
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(RECEIPT_DEADLINE):
                while found := await self._store.memory(progress.call_sid):
                    if found.call.receipt is not None or not progress.talked:
                        return found.call.receipt
                    await asyncio.sleep(0.1)
        return None


@contextlib.asynccontextmanager
async def _in_time(error: str, fix: str) -> AsyncIterator[None]:
    """Refuse a request with 504 if the block exceeds the deadline. A call that is being placed goes on."""
    try:
        async with asyncio.timeout(ANSWER_DEADLINE):
            yield
    except TimeoutError as exc:
        raise OutboundRefused(504, error, fix, retry_after=5) from exc


@contextlib.contextmanager
def _logged(to: object) -> Iterator[None]:
    """Log each refusal as one line, with the number that was to be called, if it is valid."""
    try:
        yield
    except OutboundRefused as exc:
        number = read_number(to) if isinstance(to, str) else None
        whom = f" to {mask_number(number)}" if number else ""
        log.warning("An outbound request%s is refused with %d: %s", whom, exc.status, exc.error)
        raise
