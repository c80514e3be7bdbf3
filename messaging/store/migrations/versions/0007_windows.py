"""What a worker does once per window is a function each, with plans that are kept; rows have room for both updates."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_EACH_PARTITION = """
DO $$ DECLARE v_name text;
BEGIN
    FOR v_name IN SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'deliveries'::regclass LOOP
        EXECUTE format('ALTER TABLE %s SET (fillfactor = {fillfactor})', v_name);
    END LOOP;
END $$
"""


def upgrade() -> None:
    """Move the schema forward."""
    op.get_bind().exec_driver_sql(Path(__file__).parent.with_name("windows.sql").read_text(encoding="utf-8"))
    op.execute(_EACH_PARTITION.format(fillfactor=40))


def downgrade() -> None:
    """Move the schema back."""
    op.execute(_EACH_PARTITION.format(fillfactor=60))
    op.execute("DROP FUNCTION record_accepted, claim_window, hold_batch")
