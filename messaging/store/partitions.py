"""Months of the ledger: the partitions of `batches`, `deliveries` and what is told about them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import date

    from sqlalchemy import Connection

PARTITIONED = ("batches", "deliveries", "delivery_events", "past_attempts", "provider_message_ids")

# Deliveries are updated two or three times in place: room on the page keeps those updates heap-only.
_STORAGE = {"batches": "fillfactor=50", "deliveries": "fillfactor=40, autovacuum_vacuum_scale_factor=0.05"}
_INSERT_ONLY = "fillfactor=100"

# The ledger is always looked up by key, and must be from a month's first message on: statistics of a partition that
# held a message or two then said that a batch is half of it, and reading it whole would do, until the next ANALYZE.
_NO_STATISTICS = frozenset({"deliveries"})
_EACH_COLUMN_WITHOUT = text("""
SELECT string_agg('ALTER COLUMN ' || quote_ident(attname) || ' SET STATISTICS 0', ', ')
  FROM pg_attribute WHERE attrelid = to_regclass(:name) AND attnum > 0 AND NOT attisdropped
""")

_LOCK = 0x7061_7274


def ensure_partitions(connection: Connection, months_ahead: int = 2) -> None:
    """Create the partitions of this month and the next `months_ahead`, where they are missing."""
    months = connection.execute(
        text(
            "SELECT (date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => i))::date"
            " FROM generate_series(0, :ahead) AS i"
        ),
        {"ahead": months_ahead},
    ).scalars()
    for month in months.all():
        ensure_month(connection, month)


def ensure_month(connection: Connection, month: date) -> None:
    """Create the partitions of `month` (its first day) where they are missing."""
    following = date_after(month)
    for table in PARTITIONED:
        name = partition_name(table, month)
        if connection.execute(text("SELECT to_regclass(:name)"), {"name": name}).scalar() is not None:
            continue
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        connection.execute(
            text(
                f"CREATE TABLE IF NOT EXISTS {name} PARTITION OF {table} FOR VALUES"
                f" FROM ('{month:%Y-%m-%d}') TO ('{following:%Y-%m-%d}') WITH ({_STORAGE.get(table, _INSERT_ONLY)})"
            )
        )
        if table in _NO_STATISTICS:
            changes = connection.execute(_EACH_COLUMN_WITHOUT, {"name": name}).scalar_one()
            connection.execute(text(f"ALTER TABLE {name} {changes}"))


def partition_name(table: str, month: date) -> str:
    """The partition of `table` for `month`."""
    return f"{table}_{month:%Y_%m}"


def date_after(month: date) -> date:
    """The first day of the month after `month`."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)
