"""Deliveries handed from one provider to another: the part of the ledger that fail-over writes."""

from __future__ import annotations

from sqlalchemy import Connection, text

from messaging.status import DeliveryStatus
from messaging.store import batches
from messaging.store.batches import BatchRef, BatchState

_S = DeliveryStatus

# What may have arrived (doubts > 0) stays with the provider that knows its idempotency key.
_MOVE = text(f"""
UPDATE deliveries d SET batch_id = :new, updated_at = now(),
       due_at = CASE WHEN d.status = {_S.RETRYING.code} THEN now() END
  FROM batches b
 WHERE b.month = :month AND b.id = :old AND d.month = b.month AND d.message_id = b.message_id
   AND d.target_id BETWEEN b.first_target AND b.last_target AND d.batch_id = b.id
   AND d.status IN ({_S.QUEUED.code}, {_S.RETRYING.code}) AND d.doubts = 0
RETURNING d.target_id
""")

_OPEN_BATCH = text("""
INSERT INTO batches (month, id, message_id, provider_id, channel, lane, first_target, last_target, total, moves,
                     hinted_at, hints)
SELECT month, :new, message_id, :provider, channel, lane, :first, :last, :total, moves + 1, now(), 1
  FROM batches WHERE month = :month AND id = :old
""")

_LEAVE = text(f"""
UPDATE batches SET total = total - :total, updated_at = now(),
       state = CASE WHEN total - :total <= accepted + delivered + failed + unknown + expired + cancelled + suppressed
                    THEN {BatchState.DONE:d} ELSE state END
 WHERE month = :month AND id = :old
""")


def move(connection: Connection, ref: BatchRef, provider_id: int) -> tuple[BatchRef, int] | None:
    """Hand what certainly was not sent of a waiting batch, locked by the caller, to another provider, due at once.

    The new batch and how many deliveries it holds; None when there was nothing to move.
    """
    batches.look_up(connection)
    new = int(connection.execute(text("SELECT nextval('batch_ids')")).scalar_one())
    key = {"month": ref.month, "old": ref.id, "new": new}
    moved = [row.target_id for row in connection.execute(_MOVE, key)]
    if not moved:
        return None
    connection.execute(
        _OPEN_BATCH,
        key | {"provider": provider_id, "first": min(moved), "last": max(moved), "total": len(moved)},
    )
    connection.execute(_LEAVE, key | {"total": len(moved)})
    return BatchRef(ref.month, new), len(moved)
