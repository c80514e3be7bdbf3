"""Attempts that another one followed."""

from __future__ import annotations

from alembic import op

from messaging.store.partitions import date_after, partition_name
from messaging.store.retention import months

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the schema forward: every month that has deliveries gets a partition."""
    op.execute("""
    CREATE TABLE past_attempts (
        month date NOT NULL,
        message_id bigint NOT NULL,
        target_id bigint NOT NULL,
        provider_id bigint NOT NULL,
        attempt smallint NOT NULL,
        times integer NOT NULL DEFAULT 1,
        first_at timestamptz NOT NULL DEFAULT now(),
        at timestamptz NOT NULL DEFAULT now(),
        code text NOT NULL,
        reason text,
        PRIMARY KEY (month, message_id, target_id, provider_id, attempt, code)
    ) PARTITION BY RANGE (month)
    """)
    for month in months(op.get_bind()):
        # not `ensure_month`: it will know of tables that come after this revision
        op.execute(
            f"CREATE TABLE {partition_name('past_attempts', month)} PARTITION OF past_attempts"
            f" FOR VALUES FROM ('{month}') TO ('{date_after(month)}') WITH (fillfactor=100)"
        )


def downgrade() -> None:
    """Move the schema back; those attempts are forgotten."""
    op.execute("DROP TABLE past_attempts")
