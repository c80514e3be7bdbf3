"""The span a message was accepted in, and since when one goes out that was a draft."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the schema forward. Neither column has a default, so no row is written."""
    op.execute(
        "ALTER TABLE messages ADD COLUMN IF NOT EXISTS traceparent text, ADD COLUMN IF NOT EXISTS begun_at timestamptz"
    )
    op.get_bind().exec_driver_sql(Path(__file__).parent.with_name("accept_smalls.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Nothing: who came before writes neither column, and reads the same file."""
