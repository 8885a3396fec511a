"""Between the calls and the store: records a call as it goes on, and reads the record when the call is resumed.

A store that is slow or broken costs the record, never the call.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from callgate import store
from callgate.core.receipt import Receipt
from callgate.core.tools.toolbox import Message, Transfer
from callgate.core.turns.commands import NextStep, Outcome, PutThrough, SendDigits
from callgate.core.turns.transcript import Role, Turn
from callgate.core.withheld import WITHHELD, is_withheld
from callgate.errors import StoreError
from callgate.store import CallRecord, Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Memory:
    """What is on record of a call.

    ``turns``: what was said, cut at what was heard. ``outcome``: how the last stream ended; ``then``: what Twilio is to
    do next. ``elsewhere``: another process had the call last. ``call``: when the call came and between whom; None if
    that is not known.
    """

    turns: tuple[Turn, ...] = ()
    outcome: Outcome | None = None
    then: NextStep | None = None
    elsewhere: bool = False
    call: CallRecord | None = None

    @property
    def came_at(self) -> datetime | None:
        """When the call came, if that is known."""
        return self.call.started_at if self.call else None


class Ledger:
    """The record of calls in the store."""

    def __init__(self, kept: Store) -> None:
        self._store = kept

    def call_came(self, params: Mapping[str, str]) -> None:
        """Record that a call came in, with the parameters of its webhook."""
        caller = params.get("From", "")
        self._store.journal.call_started(
            CallRecord(
                call_sid=params["CallSid"],
                started_at=_now(),
                account_sid=params.get("AccountSid", ""),
                direction=params.get("Direction", ""),
                from_number=WITHHELD if is_withheld(caller) else caller,
                to_number=params.get("To", ""),
            )
        )

    def call_resumed(self, call_sid: str) -> None:
        """Record that this process resumes a call that was cut off."""
        self._store.journal.call_resumed(call_sid, _now())

    def agent_returned(self, call_sid: str, turns: tuple[Turn, ...], note: Turn) -> None:
        """Record that the agent is back in a call that it had left, in this process. ``turns``: what was said before;
        ``note``: what the agent is told."""
        self._store.journal.call_resumed(call_sid, _now(), interrupted=False)
        self.recorder(call_sid, turns)(note)

    def call_ended(self, call_sid: str, receipt: Receipt, then: NextStep | None = None) -> None:
        """Record that a call's stream has ended. ``then``: what Twilio is to do next."""
        next_step = None if then is None else _as_json(then)
        outcome, summary = receipt.ended.name.lower(), receipt.as_dict()
        self._store.journal.call_ended(call_sid, _now(), outcome, receipt.reason, summary, next_step)

    def call_over(self, call_sid: str, status: str) -> None:
        """Record that Twilio reports the end of a call that never had a stream, or whose process is gone."""
        self._store.journal.call_ended(call_sid, _now(), status, "as Twilio says")

    def recorder(self, call_sid: str, memory: tuple[Turn, ...] | None) -> Callable[[Turn], None]:
        """Return the function that records the turns of a call. ``memory``: the turns that the call has had so far."""
        numbers = {turn.item_id: number for number, turn in enumerate(memory or (), 1)}

        def record(turn: Turn) -> None:
            number = numbers.setdefault(turn.item_id, len(numbers) + 1)
            self._store.journal.turn(
                call_sid,
                store.StoredTurn(
                    number=number,
                    at=_now(),
                    role=turn.role.value,
                    text=turn.heard_text if turn.role is Role.AGENT else turn.text,
                    item_id=turn.item_id,
                    heard_ms=turn.heard_ms,
                    cut=turn.cut,
                ),
            )

        return record

    def keeper(self, call_sid: str) -> Callable[[str, Message], Awaitable[None]]:
        """Return the function that stores a message left in a call, under a key. It raises `StoreError`."""

        async def keep(key: str, message: Message) -> None:
            kept = store.StoredMessage(
                key=key, at=_now(), text=message.text, name=message.name, callback=message.callback
            )
            await self._store.keep_message(call_sid, kept)

        return keep

    async def knows(self, call_sid: str) -> bool | None:
        """Whether the call is on record; None if the store can't answer at once."""
        try:
            return await self._store.knows(call_sid)
        except StoreError as exc:
            log.debug("It is not known whether the call is on record: %s", exc)
            return None

    async def memory(self, call_sid: str) -> Memory:
        """Return what is on record of a call; an empty memory if the store can't answer."""
        try:
            found = await self._store.memory(call_sid)
        except StoreError as exc:
            log.warning("What was said before can't be read: %s", exc)
            return Memory()
        if found is None:
            return Memory()
        ended = found.call.outcome
        return Memory(
            tuple(Turn(turn.key, Role(turn.role), turn.text) for turn in found.turns),
            next((outcome for outcome in Outcome if outcome.name.lower() == ended), None),
            _from_json(found.call.next_step or {}),
            elsewhere=found.call.process != self._store.process,
            call=found.call,
        )


def _as_json(then: NextStep) -> dict[str, Any]:
    if isinstance(then, SendDigits):
        return {"digits": then.digits}
    to = then.transfer
    return {"transfer": to.name, "number": to.number, "ring_for": to.ring_for, "announced": then.announced}


def _from_json(kept: Mapping[str, Any]) -> NextStep | None:
    match kept:
        case {"digits": str(digits)}:
            return SendDigits(digits)
        case {"transfer": str(name), "number": str(number), "ring_for": int() | float() as ring_for}:
            transfer = Transfer(name, number, ring_for=ring_for)
            return PutThrough(transfer, announced=bool(kept.get("announced", True)))
    return None


def _now() -> datetime:
    return datetime.now(UTC)
