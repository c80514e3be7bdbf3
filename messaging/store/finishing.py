"""How messages end: with true totals when nothing is open, or closed when cancelled or expired."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection, RowMapping, text

from messaging.channel import Channel
from messaging.status import DeliveryStatus, MessageState, finished_state
from messaging.store.messages import COUNTERS, SUMS

_M = MessageState

_ACTIVE = f"{_M.PROCESSING.code}, {_M.PAUSED.code}, {_M.CANCELLED.code}"
"""As the partial index `messages_active` says it: finished messages are never looked at again."""

_FINISHED = text(f"""
SELECT m.id, m.state, m.expanded, m.expires_at <= now() AS expired, {SUMS}, coalesce(sum(b.total), 0)::bigint AS total
  FROM (SELECT * FROM messages m
         WHERE m.finished_at IS NULL AND m.state IN ({_ACTIVE})
           AND (m.state IN ({_M.PROCESSING.code}, {_M.PAUSED.code}) AND (m.expanded OR m.expires_at <= now())
             OR m.state = {_M.CANCELLED.code})
           AND NOT EXISTS (SELECT 1 FROM batches b WHERE b.month = m.month AND b.message_id = m.id AND b.state <> 2)
         LIMIT :limit FOR UPDATE SKIP LOCKED) m
  LEFT JOIN batches b ON b.month = m.month AND b.message_id = m.id
 GROUP BY m.id, m.state, m.expanded, m.expires_at
""")

_FINISH = text("""
UPDATE messages SET state = :state, totals = CAST(:totals AS jsonb), finished_at = now(), updated_at = now(),
       failure = coalesce(failure, :failure) WHERE id = :id
""")


def finish(connection: Connection, *, limit: int) -> int:
    """Finish the messages that have nothing open, with true totals. Returns how many."""
    rows = connection.execute(_FINISHED, {"limit": limit}).mappings().all()
    for row in rows:
        totals, stored = _totals(row)
        cancelled = row["state"] == _M.CANCELLED.code
        failure = None
        if not row["total"] and not cancelled:
            failure = "No valid recipients found." if row["expanded"] else "Expired before it could be sent."
        connection.execute(
            _FINISH,
            {
                "id": row["id"],
                "state": _M.CANCELLED.code if cancelled else finished_state(totals).code,
                "totals": stored,
                "failure": failure,
            },
        )
    return len(rows)


_SUMS_OF = text(f"""
SELECT m.id, {SUMS}, coalesce(sum(b.total), 0)::bigint AS total
  FROM (SELECT * FROM messages WHERE id = ANY(CAST(:ids AS bigint[])) AND finished_at IS NOT NULL
         ORDER BY id FOR UPDATE) m
  JOIN batches b ON b.month = m.month AND b.message_id = m.id
 GROUP BY m.id
""")

_FOLD = text(f"""
UPDATE messages SET state = CASE WHEN state = {_M.CANCELLED.code} THEN state ELSE :state END,
       totals = CAST(:totals AS jsonb), updated_at = now() WHERE id = :id
""")


def fold_again(connection: Connection, message_ids: Collection[int]) -> None:
    """Give finished messages the totals, and the state that follows from them, after receipts or late answers.

    A cancelled one stays cancelled.
    """
    rows = connection.execute(_SUMS_OF, {"ids": sorted(message_ids)}).mappings().all()
    for row in rows:
        totals, stored = _totals(row)
        connection.execute(_FOLD, {"id": row["id"], "state": finished_state(totals).code, "totals": stored})


def _totals(row: RowMapping) -> tuple[dict[DeliveryStatus, int], str]:
    totals = {DeliveryStatus(name): int(row[name]) for name in COUNTERS if row[name]}
    return totals, json.dumps({status.value: by for status, by in totals.items()} | {"total": int(row["total"])})


_OPEN_OF_ENDED = text(f"""
SELECT b.month, b.id, m.state, m.expires_at <= now() AS expired, b.state AS batch_state, b.channel,
       (SELECT p.kind FROM providers p WHERE p.id = b.provider_id) AS kind
  FROM messages m JOIN batches b ON b.month = m.month AND b.message_id = m.id AND b.state <> 2
 WHERE m.finished_at IS NULL AND m.state IN ({_ACTIVE})
   AND (m.state = {_M.CANCELLED.code} OR m.expires_at <= now())
   AND (b.state = 0 OR b.lease_until < now())
 LIMIT :limit FOR UPDATE OF b SKIP LOCKED
""")


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch still open although its message was cancelled or has expired."""

    month: date
    id: int
    cancelled: bool
    channel: Channel
    kind: str
    """Of its provider; empty where that is gone."""


def open_batches_of_ended(connection: Connection, *, limit: int) -> list[OpenBatch]:
    """Batches nobody works on whose message was cancelled or has expired, locked for this transaction."""
    rows = connection.execute(_OPEN_OF_ENDED, {"limit": limit})
    return [
        OpenBatch(row.month, row.id, row.state == _M.CANCELLED.code, Channel(row.channel), row.kind or "")
        for row in rows
    ]
