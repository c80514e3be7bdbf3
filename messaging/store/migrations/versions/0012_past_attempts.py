"""Attempts that another one followed."""

from __future__ import annotations

from alembic import op

from messaging.store.partitions import ensure_month
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
    connection = op.get_bind()
    for month in months(connection):
        ensure_month(connection, month)


def downgrade() -> None:
    """Move the schema back; those attempts are forgotten."""
    op.execute("DROP TABLE past_attempts")
