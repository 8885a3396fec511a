"""The messages that callers leave for the owner, and the next step of a call that the agent has left."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("calls", sa.Column("next_step", sa.JSON))
    op.create_table(
        "messages",
        sa.Column("call_sid", sa.Text, sa.ForeignKey("calls.call_sid", ondelete="CASCADE"), primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("callback", sa.Text, nullable=False),
    )
