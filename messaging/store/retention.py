"""What is old enough is forgotten: whole months at once, and never while anything in them is active."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, text

from messaging.store import rate_limits, sessions
from messaging.store.partitions import PARTITIONED, date_after, partition_name

IDEMPOTENCY_DAYS = 30
"""A task id or idempotency key is remembered this long past its message's end."""
RECEIPT_DAYS = 30
"""A receipt is kept as it came for this long; what it said stays with its delivery."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was dropped."""

    months: tuple[date, ...]
    keys: int
    users: int = 0
    """Anonymous ones whose sessions have all ended."""
    files: int = 0
    """Files in no bucket that no message uses any more."""


def forget(connection: Connection, *, retention_days: int) -> Forgotten:
    """Drop the months that ended more than `retention_days` ago and hold nothing unfinished, and what is outdated.

    Outdated are idempotency keys, kept answers, sessions (with the devices registered in them) and rate limits.
    A month's messages, batches and ledger go together; dropping partitions leaves nothing to vacuum.
    """
    gone = tuple(month for month in months(connection) if _is_over(connection, month, retention_days))
    for month in gone:
        connection.execute(text("DELETE FROM messages WHERE month = :month"), {"month": month})
        connection.execute(text("DELETE FROM evidence WHERE month = :month"), {"month": month})
        connection.execute(text("DELETE FROM dead_verdicts WHERE month = :month"), {"month": month})
        for table in PARTITIONED:
            connection.execute(text(f"DROP TABLE IF EXISTS {partition_name(table, month)}"))
    old = {"days": retention_days}
    # messages that never had a delivery belong to no month
    connection.execute(
        text("DELETE FROM messages WHERE month IS NULL AND finished_at < now() - make_interval(days => :days)"), old
    )
    connection.execute(
        text("DELETE FROM receipts WHERE received_at < now() - make_interval(days => :days)"), {"days": RECEIPT_DAYS}
    )
    connection.execute(
        text("DELETE FROM receipt_tokens WHERE created_at < now() - make_interval(days => :days)"),
        {"days": RECEIPT_DAYS},
    )
    for table in ("refusals", "revocations", "provider_log", "provider_checks"):
        connection.execute(text(f"DELETE FROM {table} WHERE created_at < now() - make_interval(days => :days)"), old)
    connection.execute(text("DELETE FROM http_answers WHERE keep_until < now()"))
    sessions.forget_expired(connection)
    rate_limits.forget_expired(connection)
    keys = connection.execute(
        text("""DELETE FROM intake_keys k WHERE k.keep_until < now() AND NOT EXISTS (
                    SELECT 1 FROM messages m WHERE m.project_id = k.project_id AND m.public_id = k.message_public_id
                       AND (m.finished_at IS NULL OR m.finished_at > now() - make_interval(days => :days)))"""),
        {"days": IDEMPOTENCY_DAYS},
    )
    return Forgotten(gone, keys.rowcount, _forget_anonymous(connection), _forget_files(connection, old))


def _forget_anonymous(connection: Connection) -> int:
    """Users who never said who they are, and whom nothing can reach or sign in any more."""
    gone = connection.execute(
        text("""DELETE FROM users u
                 WHERE u.anonymous AND u.email IS NULL AND u.phone IS NULL AND u.password_hash IS NULL
                   AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.user_id = u.id)
                   AND NOT EXISTS (SELECT 1 FROM targets t WHERE t.user_id = u.id)""")
    )
    return gone.rowcount


def _forget_files(connection: Connection, old: Mapping[str, int]) -> int:
    """Attachments that were sent along with messages which are gone."""
    numbers = (
        connection.execute(
            text("""SELECT id FROM files WHERE bucket_id IS NULL
                       AND created_at < now() - make_interval(days => :days) FOR UPDATE SKIP LOCKED"""),
            old,
        )
        .scalars()
        .all()
    )
    if not numbers:
        return 0
    # A statement of its own: it sees the messages of those who held a file before it was locked here.
    gone = connection.execute(
        text("""DELETE FROM files f
                 WHERE f.id = ANY(CAST(:numbers AS bigint[])) AND (f.project_id, f.public_id) NOT IN (
                    SELECT m.project_id, a.one->>'fileId'
                      FROM messages m CROSS JOIN LATERAL jsonb_array_elements(m.content->'attachments') AS a(one)
                     WHERE jsonb_typeof(m.content->'attachments') = 'array' AND coalesce(a.one->>'bucketId', '') = ''
                       AND a.one->>'fileId' IS NOT NULL)"""),
        {"numbers": list(numbers)},
    )
    return gone.rowcount


def months(connection: Connection) -> list[date]:
    """The months of the ledger that there are partitions of (their first days), oldest first."""
    names = connection.execute(
        text("""SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
                 WHERE i.inhparent = 'deliveries'::regclass ORDER BY 1""")
    ).scalars()
    return [date(int(name[-7:-3]), int(name[-2:]), 1) for name in names]


def _is_over(connection: Connection, month: date, retention_days: int) -> bool:
    return bool(
        connection.execute(
            text("""SELECT :end <= (now() - make_interval(days => :days))::date
                       AND NOT EXISTS (SELECT 1 FROM messages WHERE month = :month AND finished_at IS NULL)"""),
            {"end": date_after(month), "days": retention_days, "month": month},
        ).scalar_one()
    )
