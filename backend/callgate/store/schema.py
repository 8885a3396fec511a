"""The tables, as the newest migration leaves them; a test checks that they agree."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    TypeDecorator,
)

REVISION: Final = "0004"  # the newest migration


class UtcDateTime(TypeDecorator[datetime]):
    """A timezone-aware time. SQLite has no such type, and stores UTC without an offset."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        known: datetime = value if value.tzinfo else value.replace(tzinfo=UTC)
        return known.astimezone(UTC)


metadata = MetaData()

calls = Table(
    "calls",
    metadata,
    Column("call_sid", Text, primary_key=True),
    Column("account_sid", Text, nullable=False),
    Column("direction", Text, nullable=False),
    Column("from_number", Text, nullable=False),
    Column("to_number", Text, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("process", Text, nullable=False),
    Column("outcome", Text),
    Column("reason", Text),
    Column("resumes", Integer, nullable=False),
    Column("resumed_at", UtcDateTime),
    Column("receipt", JSON(none_as_null=True)),
    Column("next_step", JSON(none_as_null=True)),
    Index("calls_started_at", "started_at"),
    Index("calls_ended_at", "ended_at"),
)

turns = Table(
    "turns",
    metadata,
    Column("call_sid", Text, ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("role", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("item_id", Text),
    Column("heard_ms", Integer),
    Column("cut", Boolean, nullable=False),
)

messages = Table(
    "messages",
    metadata,
    Column("call_sid", Text, ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
    Column("key", Text, primary_key=True),  # identifies the model's tool call that left the message
    Column("at", UtcDateTime, nullable=False),
    Column("text", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("callback", Text, nullable=False),
)

processes = Table(
    "processes",
    metadata,
    Column("process", Text, primary_key=True),  # new at each start
    Column("name", Text, nullable=False),  # the same after a restart
    Column("seen_at", UtcDateTime, nullable=False),
)

placements = Table(
    "placements",
    metadata,
    Column("key", Text, primary_key=True),  # the request's Idempotency-Key, or a random one
    Column("fingerprint", Text, nullable=False),
    Column("asked_at", UtcDateTime, nullable=False),
    Column("state", Text, nullable=False),
    Column("call_sid", Text),
    Index("placements_asked_at", "asked_at"),
)
