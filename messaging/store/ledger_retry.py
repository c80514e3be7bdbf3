"""Failed deliveries queued again because somebody asks: the part of the ledger that retrying by hand writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from messaging.status import DeliveryStatus
from messaging.store import batches
from messaging.store.batches import BatchRef
from messaging.store.expand import SHARES, Route
from messaging.store.past_attempts import keeping

_S = DeliveryStatus

# Whoever writes rows of a batch locks the batch first, all in the same order.
_LOCK = text("SELECT 1 FROM batches WHERE month = :month AND message_id = :message ORDER BY id FOR UPDATE")

_FAILED = f"""d.month = :month AND d.message_id = :message AND d.status = {_S.FAILED.code}
   AND (CAST(:codes AS text[]) = '{{}}' OR coalesce(d.error_code, '') = ANY(CAST(:codes AS text[])))"""

_IS_SERVED = """EXISTS (SELECT 1 FROM batches b JOIN providers p ON p.id = b.provider_id AND p.enabled
                         WHERE b.month = d.month AND b.id = d.batch_id)"""

_KEEP = text(
    keeping(f"""
    SELECT d.month, d.message_id, d.target_id, b.provider_id, d.attempts, d.error_code, d.error
      FROM deliveries d LEFT JOIN batches b ON b.month = d.month AND b.id = d.batch_id
     WHERE {_FAILED} AND {_IS_SERVED}
""")
)

_AGAIN = text(f"""
UPDATE deliveries d SET status = {_S.RETRYING.code}, due_at = now(), updated_at = now(), attempts = 0
 WHERE {_FAILED} AND {_IS_SERVED}
RETURNING d.batch_id
""")

_KEEP_MOVED = keeping("""
    SELECT n.month, n.message_id, n.target_id, b.provider_id, n.attempts, n.error_code, n.error
      FROM numbered n LEFT JOIN batches b ON b.month = n.month AND b.id = n.batch_id
""")

# What may have arrived (doubts > 0) goes over no other account: see docs/explanation/fail-over.md.
_ELSEWHERE = text(f"""
WITH route AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:route_from AS bigint[]), CAST(:route_to AS bigint[]), CAST(:route_size AS int[]),
                         CAST(:route_low AS int[]), CAST(:route_high AS int[]))
        AS r(from_id, provider_id, task_size, low, high)
),
numbered AS MATERIALIZED (
    SELECT d.month, d.message_id, d.target_id, d.batch_id, d.attempts, d.error_code, d.error, r.provider_id,
           (row_number() OVER (PARTITION BY r.provider_id ORDER BY d.target_id) - 1) / r.task_size AS part
      FROM deliveries d JOIN targets t ON t.id = d.target_id
      JOIN route r ON r.from_id = coalesce(t.provider_id, 0) AND (r.low = 0 AND r.high = {SHARES}
           OR mod(abs(hashint8(t.id # :message)::bigint), {SHARES}) BETWEEN r.low AND r.high - 1)
     WHERE {_FAILED} AND d.doubts = 0 AND NOT {_IS_SERVED}
),
chunk AS MATERIALIZED (
    SELECT g.*, nextval('batch_ids') AS id
      FROM (SELECT provider_id, part, min(target_id) AS first, max(target_id) AS last, count(*) AS total
              FROM numbered GROUP BY provider_id, part) g
),
opened AS (
    INSERT INTO batches (month, id, message_id, provider_id, channel, lane, first_target, last_target, total)
    SELECT :month, c.id, m.id, c.provider_id, m.channel, m.lane, c.first, c.last, c.total
      FROM chunk c JOIN messages m ON m.id = :message
),
kept AS ({_KEEP_MOVED})
UPDATE deliveries d SET batch_id = c.id, status = {_S.RETRYING.code}, due_at = now(), updated_at = now(), attempts = 0
  FROM numbered n JOIN chunk c ON c.provider_id = n.provider_id AND c.part = n.part
 WHERE d.month = :month AND d.message_id = :message AND d.target_id = n.target_id
RETURNING d.batch_id AS new, n.batch_id AS old
""")

_LEAVE = text("""
UPDATE batches SET total = total - :moved, failed = failed - :moved, updated_at = now()
 WHERE month = :month AND id = :id
""")


def lock(connection: Connection, month: date, message_id: int) -> None:
    """Keep every batch of the message for this transaction."""
    connection.execute(_LOCK, {"month": month, "message": message_id})


def again(connection: Connection, month: date, message_id: int, *, codes: Sequence[str]) -> Counter[BatchRef]:
    """Queue again what failed over accounts that are enabled still, by batch.

    Only with one of the error `codes`, where any is given. The message's batches are locked by the caller.
    """
    connection.execute(_KEEP, _which(month, message_id, codes))
    rows = connection.execute(_AGAIN, _which(month, message_id, codes)).scalars()
    refs = Counter(BatchRef(month, batch) for batch in rows)
    for ref, by in sorted(refs.items(), key=lambda item: item[0].id):
        batches.count(connection, ref, {"failed": -by})
    return refs


def elsewhere(
    connection: Connection, month: date, message_id: int, *, codes: Sequence[str], routing: Sequence[Route]
) -> Counter[BatchRef]:
    """Hand what failed over accounts that are gone or disabled to those that `routing` names, in new batches.

    What may have been sent stays where it is, as does what no route leads from.
    """
    routes = {
        "route_from": [route.provider_id for route in routing],
        "route_to": [route.effective_id for route in routing],
        "route_size": [route.task_size for route in routing],
        "route_low": [route.low for route in routing],
        "route_high": [route.high for route in routing],
    }
    rows = connection.execute(_ELSEWHERE, _which(month, message_id, codes) | routes).all()
    for old, moved in sorted(Counter(row.old for row in rows).items()):
        connection.execute(_LEAVE, {"month": month, "id": old, "moved": moved})
    return Counter(BatchRef(month, row.new) for row in rows)


def left(connection: Connection, month: date, message_id: int, *, codes: Sequence[str]) -> int:
    """How many deliveries are still failed."""
    return int(
        connection.execute(
            text(f"SELECT count(*) FROM deliveries d WHERE {_FAILED}"), _which(month, message_id, codes)
        ).scalar_one()
    )


def _which(month: date, message_id: int, codes: Sequence[str]) -> dict[str, Any]:
    return {"month": month, "message": message_id, "codes": list(codes)}
