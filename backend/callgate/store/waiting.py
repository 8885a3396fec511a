"""The entries that wait to be written: bounded, in order, each turn once. Pure; `callgate.store.journal` writes them.

Starts, resumes and ends of calls are events, kept in order. Turns wait separately, only the latest version of each: a
turn that changes ten times while the database is away is written once.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from callgate.core.receipt import added

from .records import CallRecord, StoredCall, StoredTurn

ENTRY_BYTES: Final = 400  # the approximate size of an entry without its text


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call began; ``record.process`` holds it."""

    record: CallRecord

    @property
    def call_sid(self) -> str:
        return self.record.call_sid


@dataclass(frozen=True, slots=True)
class CallResumed:
    """A process resumes a call. ``interrupted``: the call was cut off; otherwise the agent had left it on purpose."""

    call_sid: str
    at: datetime
    process: str
    interrupted: bool = True


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call ended, or its stream did and it is not known yet whether the call comes back.

    An end with a receipt comes from the process that held the call. An end without one comes from a process that was
    only told about it, and counts only if no other end is known. A receipt covers one stream, and is added to those of
    the streams before. The end of a stream from before the call was resumed comes too late, and is ignored.
    """

    call_sid: str
    at: datetime
    outcome: str
    reason: str = field(repr=False)
    receipt: Mapping[str, Any] | None = field(default=None, repr=False)
    next_step: Mapping[str, Any] | None = field(default=None, repr=False)


CallEvent = CallStarted | CallResumed | CallEnded


@dataclass(frozen=True, slots=True)
class SaidTurn:
    """A turn of a call."""

    call_sid: str
    turn: StoredTurn


@dataclass(frozen=True, slots=True)
class Batch:
    """The entries that are written in one transaction: the events first, because a turn needs its call."""

    events: tuple[CallEvent, ...]
    turns: tuple[SaidTurn, ...]

    def __len__(self) -> int:
        return len(self.events) + len(self.turns)

    def apart(self) -> list[Batch]:
        """Return one batch for each entry."""
        return [Batch((event,), ()) for event in self.events] + [Batch((), (said,)) for said in self.turns]


class Waiting:
    """The entries that wait. ``lost`` counts those that were dropped for lack of room.

    When it is full, the oldest turn is dropped, because a resumed call needs most what was said last. An event is
    dropped only when no turn is left.
    """

    def __init__(self, count_limit: int, byte_limit: int) -> None:
        self._count_limit = count_limit
        self._byte_limit = byte_limit
        self._events: deque[CallEvent] = deque()
        self._turns: OrderedDict[tuple[str, str], SaidTurn] = OrderedDict()
        self._bytes = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._events) + len(self._turns)

    def put_event(self, event: CallEvent) -> None:
        """Add a call's start, resume or end."""
        self._events.append(event)
        self._bytes += _size(event)
        self._make_room()

    def put_turn(self, said: SaidTurn) -> None:
        """Add a turn, or replace it with its new version."""
        key = (said.call_sid, said.turn.key)
        if (before := self._turns.get(key)) is not None:
            self._bytes -= _size(before)
            said = _newer(before, said)
        self._turns[key] = said
        self._bytes += _size(said)
        self._make_room()

    def take(self, most: int) -> Batch:
        """Remove and return the first entries, ``most`` at most."""
        events = tuple(self._events.popleft() for _ in range(min(most, len(self._events))))
        room = most - len(events)
        turns = tuple(self._turns.popitem(last=False)[1] for _ in range(min(room, len(self._turns))))
        self._bytes -= sum(map(_size, (*events, *turns)))
        return Batch(events, turns)

    def put_back(self, batch: Batch) -> None:
        """Put entries that were taken back in their place. Versions of turns added since are newer and win."""
        self._events.extendleft(reversed(batch.events))
        self._bytes += sum(map(_size, batch.events))
        for said in reversed(batch.turns):
            key = (said.call_sid, said.turn.key)
            if (since := self._turns.pop(key, None)) is not None:
                self._bytes -= _size(since)
                said = _newer(said, since)
            self._turns[key] = said
            self._turns.move_to_end(key, last=False)
            self._bytes += _size(said)
        self._make_room()

    def of_call(self, call_sid: str) -> Batch:
        """Return the waiting entries of one call, without removing them."""
        return Batch(
            tuple(event for event in self._events if event.call_sid == call_sid),
            tuple(said for said in self._turns.values() if said.call_sid == call_sid),
        )

    def _make_room(self) -> None:
        while len(self) > self._count_limit or self._bytes > self._byte_limit:
            entry = self._turns.popitem(last=False)[1] if self._turns else self._events.popleft()
            self._bytes -= _size(entry)
            self.lost += 1


def merged(kept: StoredCall | None, waiting: Batch) -> StoredCall | None:
    """Return a call as it will be once its waiting entries are written; None if there is no such call."""
    call = kept.call if kept else None
    turns = {turn.key: SaidTurn(kept.call.call_sid, turn) for turn in kept.turns} if kept else {}
    for event in waiting.events:
        call = _after(event, call)
    if call is None:
        return None
    for said in waiting.turns:
        before = turns.get(said.turn.key)
        turns[said.turn.key] = _newer(before, said) if before else said
    in_order = sorted((said.turn for said in turns.values()), key=lambda turn: (turn.number, turn.at, turn.key))
    return StoredCall(call, tuple(in_order), kept.messages if kept else ())


def _after(event: CallEvent, call: CallRecord | None) -> CallRecord | None:
    if isinstance(event, CallStarted):
        return replace(call, process=event.record.process) if call else event.record
    if call is None:
        return None
    if isinstance(event, CallEnded):
        if event.receipt is None and call.ended_at is not None:
            return call
        if call.resumed_at is not None and event.at < call.resumed_at:
            return call  # the call was resumed since
        receipt = call.receipt
        if event.receipt is not None and call.ended_at != event.at:  # otherwise it is written already
            receipt = added(receipt, event.receipt)
        return replace(
            call,
            ended_at=event.at,
            outcome=event.outcome,
            reason=event.reason,
            receipt=receipt,
            next_step=event.next_step,
        )
    if call.resumed_at is not None and call.resumed_at >= event.at:
        return call  # it is written already
    resumes = call.resumes + event.interrupted
    again = replace(call, process=event.process, resumes=resumes, resumed_at=event.at)
    return replace(again, ended_at=None, outcome=None, reason=None, next_step=None)


def _newer(before: SaidTurn, after: SaidTurn) -> SaidTurn:
    """Return the newer version of a turn, with the number and the time of the older one."""
    return SaidTurn(after.call_sid, replace(after.turn, number=before.turn.number, at=before.turn.at))


def _size(entry: CallEvent | SaidTurn) -> int:
    match entry:
        case SaidTurn(turn=turn):
            return ENTRY_BYTES + len(turn.text)
        case CallEnded(reason=reason):
            return ENTRY_BYTES + len(reason)
        case _:
            return ENTRY_BYTES
