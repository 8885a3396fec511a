"""Places a call only once per idempotency key, within the limits per minute and per day, and on a free line."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from callgate.core.gate.call_request import CallRequest
from callgate.core.masking import mask_number
from callgate.errors import OutboundRefused, StoreError
from callgate.store.placements import Caps, Exhausted, Placement, Placements
from callgate.switchboard.switchboard import Switchboard

from .twilio_calls import CallInDoubtError, TwilioCalls

log = logging.getLogger(__name__)

KEY: Final = re.compile(r"[!-~]{1,200}")


@dataclass(frozen=True, slots=True)
class Placed:
    """A call that was placed. ``again``: it had been placed by an earlier request."""

    call_sid: str
    again: bool = False


class Placing:
    """The calls that are being placed. ``account_sid``: the account that places them. ``ended``: returns the final
    status of a call, or None if it has not ended."""

    def __init__(
        self,
        placements: Placements,
        caps: Caps,
        switchboard: Switchboard,
        account_sid: str,
        ended: Callable[[str], str | None],
    ) -> None:
        self._placements, self._caps, self._switchboard = placements, caps, switchboard
        self._account_sid, self._ended = account_sid, ended
        self._under_way: dict[str, tuple[str, asyncio.Task[Placed]]] = {}  # key -> the request's fingerprint, its task

    async def close(self, seconds: float) -> None:
        """Wait up to ``seconds`` for requests that Twilio has not answered yet."""
        if self._under_way:
            await asyncio.wait([task for _, task in self._under_way.values()], timeout=seconds)

    async def once(self, twilio: TwilioCalls, request: CallRequest, from_number: str, key: str | None) -> Placed:
        """Place the call, unless one was placed or is being placed under this key: then return that one. Raises
        `OutboundRefused`."""
        if key is not None and not KEY.fullmatch(key):
            raise OutboundRefused(400, "The Idempotency-Key is not usable.", "Send 1 to 200 visible ASCII characters.")
        key = key or secrets.token_hex(16)
        fingerprint = request.fingerprint(key)
        if key not in self._under_way:
            # A task of its own: a call that was started is recorded even if the client has disconnected.
            task = asyncio.create_task(self._reserve_and_place(twilio, request, from_number, key))
            self._under_way[key] = fingerprint, task
            task.add_done_callback(lambda _: self._done(key))
        of_what, task = self._under_way[key]
        _check_same(of_what, fingerprint)
        return await asyncio.shield(task)

    def _done(self, key: str) -> None:
        _, task = self._under_way.pop(key)
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the client was told, or has disconnected

    async def _reserve_and_place(self, twilio: TwilioCalls, request: CallRequest, from_number: str, key: str) -> Placed:
        found = await self._reserve(key, request.fingerprint(key))
        if found is not None:
            return Placed(str(found.call_sid), again=True)
        call_sid = await self._place(twilio, request, from_number, key)
        log.info("Outbound call %s to %s is placed", call_sid, mask_number(request.to))
        return Placed(call_sid)

    async def _reserve(self, key: str, fingerprint: str) -> Placement | None:
        """Return the call that was placed under the key before, or None after counting a new one."""
        try:
            found = await self._placements.reserve(key, fingerprint, self._caps)
        except StoreError as exc:
            raise OutboundRefused(
                503, f"Calls can't be counted, so none is placed: {exc}", "Repair the store.", retry_after=30
            ) from exc
        match found:
            case Exhausted(per=per, retry_after=seconds):
                name = {"minute": "OUTBOUND_RATE", "day": "OUTBOUND_DAILY_CAP"}[per]
                raise OutboundRefused(
                    429, f"No more calls this {per} ({name}).", f"Ask again in {seconds} s.", retry_after=seconds
                )
            case Placement(fingerprint=known, call_sid=call_sid):
                _check_same(known, fingerprint)
                if call_sid is None:
                    raise OutboundRefused(
                        409,
                        "It is not known whether this Idempotency-Key's call was placed.",
                        "Look into the Twilio console's call log; for another call, take another key.",
                    )
                return found
        return None

    async def _place(self, twilio: TwilioCalls, request: CallRequest, from_number: str, key: str) -> str:
        try:
            call_sid = await self._place_on_a_line(twilio, request, from_number, key)
        except CallInDoubtError:
            raise  # the call counts as placed
        except OutboundRefused:
            with contextlib.suppress(StoreError):  # if this fails, the call counts as placed
                await self._placements.settle(key, "refused")
            raise
        try:
            await self._placements.settle(key, "placed", call_sid)
        except StoreError as exc:
            log.warning("Could not record that %s was placed under its Idempotency-Key: %s", call_sid, exc)
        return call_sid

    async def _place_on_a_line(self, twilio: TwilioCalls, request: CallRequest, from_number: str, key: str) -> str:
        registry, line = self._switchboard.registry, f"to be placed: {key}"
        is_overloaded = self._switchboard.pulse.is_overloaded(registry.share)
        if is_overloaded or not registry.admit(line, time.time()):
            raise OutboundRefused(503, "All lines are busy (MAX_CALLS).", "Ask again later.", retry_after=30)
        call = {"AccountSid": self._account_sid, "Direction": "outbound-api", "From": from_number, "To": request.to}
        try:
            call_sid = await twilio.create(request, from_number, self._switchboard.assigned.language(call))
        finally:
            registry.give_up(line)
        # No await since the line was freed, so no other call can take it.
        self._switchboard.first_webhook.expect({**call, "CallSid": call_sid}, self._ended(call_sid))
        return call_sid


def _check_same(fingerprint: str, other: str) -> None:
    if fingerprint != other:
        raise OutboundRefused(
            422, "This Idempotency-Key was used for another request.", "Take another key for another call."
        )
