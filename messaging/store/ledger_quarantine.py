"""Deliveries put aside because they end workers, and queued again: the part of the ledger that quarantine writes."""

from __future__ import annotations

from collections import Counter
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import OnUnknown
from messaging.status import DeliveryStatus
from messaging.store import batches, ledger
from messaging.store.batches import BatchRef, Lease

_S = DeliveryStatus

CODE = "quarantined"
"""Error code of a delivery that was put aside."""

_ALONE = f"""
 WHERE d.month = :month AND d.message_id = :message AND d.target_id BETWEEN :first AND :last AND d.batch_id = :id
   AND d.status = {_S.SENDING.code} AND d.claim < :claim
"""


def in_flight(connection: Connection, owned: Lease) -> list[int]:
    """The targets that were in flight when the last worker of a batch just taken over died; two at most."""
    rows = connection.execute(
        text(f"SELECT d.target_id FROM deliveries d {_ALONE} ORDER BY d.target_id LIMIT 2"), _alone(owned)
    )
    return list(rows.scalars())


def set_aside_in_flight(connection: Connection, owned: Lease, *, error: str) -> None:
    """End as `unknown` what was in flight when the last worker of a batch just taken over died."""
    moved = connection.execute(
        text(f"""UPDATE deliveries d SET status = {_S.UNKNOWN.code}, doubts = d.doubts + 1, due_at = NULL,
                        updated_at = now(), error_code = '{CODE}', error = :error {_ALONE}"""),
        _alone(owned) | {"error": error},
    )
    batches.count(connection, owned.ref, {"unknown": moved.rowcount})


def _alone(owned: Lease) -> dict[str, Any]:
    return ledger.range_of(owned) | {"claim": owned.claim}


_WAITING = text(f"""
UPDATE deliveries d SET status = CASE WHEN d.doubts > 0 THEN {_S.UNKNOWN.code} ELSE {_S.FAILED.code} END,
       due_at = NULL, updated_at = now(), error_code = '{CODE}', error = :error
  FROM batches b
 WHERE b.month = :month AND b.id = :id AND d.month = b.month AND d.message_id = b.message_id
   AND d.target_id BETWEEN b.first_target AND b.last_target AND d.batch_id = b.id
   AND d.status IN ({_S.QUEUED.code}, {_S.RETRYING.code})
RETURNING d.status
""")


def set_aside_waiting(connection: Connection, ref: BatchRef, *, error: str) -> int:
    """End everything that waits in a batch locked by the caller: `failed`, or `unknown` where it may have been sent."""
    batches.look_up(connection)
    moved = Counter(
        _S.of(code)
        for code in connection.execute(_WAITING, {"month": ref.month, "id": ref.id, "error": error}).scalars()
    )
    batches.count(connection, ref, {status.value: by for status, by in moved.items()})
    return moved.total()


# What may have been sent is sent again only where the message says so: `hold` promises no second code.
_REQUEUE = text(f"""
UPDATE deliveries d SET status = {_S.RETRYING.code}, due_at = now(), updated_at = now(), attempts = 0
  FROM messages m, (SELECT month, message_id, target_id, status FROM deliveries
                     WHERE month = :month AND message_id = :message AND batch_id = :batch
                       AND (CAST(:target AS bigint) IS NULL OR target_id = :target) AND error_code = '{CODE}'
                       AND status IN ({_S.FAILED.code}, {_S.UNKNOWN.code}) FOR UPDATE) before
 WHERE d.month = before.month AND d.message_id = before.message_id AND d.target_id = before.target_id
   AND m.id = d.message_id AND (before.status = {_S.FAILED.code} OR m.on_unknown = '{OnUnknown.RETRY}')
RETURNING before.status
""")


def requeue(connection: Connection, month: date, message_id: int, batch_id: int, *, target_id: int | None) -> int:
    """Queue again what was put aside of a batch, or one target of it; how many.

    What may have been sent already stays where its message says `hold`.
    """
    ref = BatchRef(month, batch_id)
    named: dict[str, Any] = {"month": month, "message": message_id, "batch": batch_id, "target": target_id}
    connection.execute(
        text("SELECT 1 FROM batches WHERE month = :month AND id = :batch FOR UPDATE"),
        {"month": month, "batch": batch_id},
    )
    moved = Counter(_S.of(code) for code in connection.execute(_REQUEUE, named).scalars())
    batches.count(
        connection,
        ref,
        {status.value: -by for status, by in moved.items()} | {"doubtful": moved[_S.UNKNOWN]},
    )
    return moved.total()
