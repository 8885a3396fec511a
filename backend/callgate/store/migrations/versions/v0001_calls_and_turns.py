"""Calls and their turns."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "calls",
        sa.Column("call_sid", sa.Text, primary_key=True),
        sa.Column("account_sid", sa.Text, nullable=False),
        sa.Column("direction", sa.Text, nullable=False),
        sa.Column("from_number", sa.Text, nullable=False),
        sa.Column("to_number", sa.Text, nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True)),
        sa.Column("process", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("resumes", sa.Integer, nullable=False),
        sa.Column("resumed_at", sa.DateTime(timezone=True)),
        sa.Column("receipt", sa.JSON),
    )
    op.create_index("calls_started_at", "calls", ["started_at"])
    op.create_index("calls_ended_at", "calls", ["ended_at"])
    op.create_table(
        "turns",
        sa.Column("call_sid", sa.Text, sa.ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("item_id", sa.Text),
        sa.Column("heard_ms", sa.Integer),
        sa.Column("cut", sa.Boolean, nullable=False),
    )
