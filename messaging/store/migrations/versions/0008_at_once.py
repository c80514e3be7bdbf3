"""A batch of few rows is leased and claimed in one call, and recorded and ended in another."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the schema forward."""
    op.get_bind().exec_driver_sql(Path(__file__).parent.with_name("at_once.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Move the schema back."""
    op.execute("DROP FUNCTION finish_batch, lease_batch, enter_task")
