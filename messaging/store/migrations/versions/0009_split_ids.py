"""Providers' ids come as one string that is split, and whether anybody is suppressed is asked once per window.

Workers of the version before call `record_accepted` and `finish_batch` with JSON: theirs stay.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the schema forward."""
    for name in ("windows.sql", "at_once.sql"):
        op.get_bind().exec_driver_sql(Path(__file__).parent.with_name(name).read_text(encoding="utf-8"))


def downgrade() -> None:
    """Move the schema back: where those of the version before are there, ours go."""
    for name in ("record_accepted", "finish_batch"):
        takes = f"{name}(date, bigint, int, float8, bigint, bigint[], {{}})"
        op.execute(
            f"DO $$ BEGIN IF to_regprocedure('{takes.format('jsonb')}') IS NOT NULL THEN"
            f" DROP FUNCTION {takes.format('text')}; END IF; END $$"
        )
