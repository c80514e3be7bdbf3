"""Providers' ids come as one string that is split, and whether anybody is suppressed is asked once per window."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the schema forward."""
    for name in ("record_accepted", "finish_batch"):
        op.execute(f"DROP FUNCTION IF EXISTS {name}(date, bigint, int, float8, bigint, bigint[], jsonb)")
    for name in ("windows.sql", "at_once.sql"):
        op.get_bind().exec_driver_sql(Path(__file__).parent.with_name(name).read_text(encoding="utf-8"))


def downgrade() -> None:
    """Nothing: what came before reads the same files."""
