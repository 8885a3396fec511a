"""The records of a call, as values. All times are timezone-aware.

What was said and phone numbers are left out of every ``repr``, because a record may be logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Role = Literal["caller", "agent", "note"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallRecord:
    """One call, with a field for each column of its row. ``direction`` is Twilio's ``Direction``; numbers are E.164."""

    call_sid: str
    started_at: datetime
    account_sid: str = ""
    direction: str = ""
    from_number: str = field(default="", repr=False)
    to_number: str = field(default="", repr=False)
    process: str = ""  # the process that holds the call; `Journal` fills it in
    ended_at: datetime | None = None
    outcome: str | None = None  # how it ended; None while it has not
    reason: str | None = None
    resumes: int = 0  # how many times the call was interrupted and resumed
    resumed_at: datetime | None = None  # when it was last resumed
    receipt: Mapping[str, Any] | None = None  # JSON, for all its streams: durations in s, counts, tokens, cost
    next_step: Mapping[str, Any] | None = field(default=None, repr=False)  # JSON: what Twilio is to do next


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTurn:
    """What one side said at one time, or a note about the call.

    A turn is identified by its ``item_id`` (the model's), or by its ``number`` if it has none. A newer version replaces
    the older one, but keeps its number and its time.
    """

    number: int  # its place in the call
    at: datetime
    role: Role
    text: str = field(repr=False)
    item_id: str | None = None
    heard_ms: int | None = None  # if an agent's turn was cut: how much of it the caller heard, in ms
    cut: bool = False  # the caller spoke over it

    @property
    def key(self) -> str:
        """The key that identifies the turn within its call."""
        return self.item_id or f"#{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """A message that a caller left for the owner. ``callback``: where they want to be called, as they said it."""

    key: str  # identifies it within its call
    at: datetime
    text: str = field(repr=False)
    name: str = field(default="", repr=False)
    callback: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class StoredCall:
    """A call, what was said in it, in order, and the messages that were left."""

    call: CallRecord
    turns: tuple[StoredTurn, ...]
    messages: tuple[StoredMessage, ...] = ()
