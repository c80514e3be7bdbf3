"""Messages to a few are accepted together.

`accept_small`, which accepts one, stays: a process of the version before, still running, calls it.
"""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Move the schema forward."""
    op.get_bind().exec_driver_sql(Path(__file__).parent.with_name("accept_smalls.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    """Move the schema back."""
    op.execute("DROP FUNCTION accept_smalls")
