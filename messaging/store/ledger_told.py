"""Statuses moved by what a provider told later: the part of the ledger that receipts write."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from sqlalchemy import Connection, text

from messaging.status import DeliveryStatus
from messaging.store import batches, finishing
from messaging.store.batches import BatchRef

_S = DeliveryStatus


class Name(NamedTuple):
    """A delivery."""

    month: date
    message_id: int
    target_id: int


@dataclass(frozen=True, slots=True)
class Known:
    """A delivery that was found, its batch locked for this transaction."""

    status: DeliveryStatus
    doubts: int
    batch_id: int
    provider_id: int | None


# LATERAL with OFFSET 0: looked up one by one by their key, whatever the statistics say.
_FIND = text("""
SELECT d.month, d.message_id, d.target_id, d.batch_id
  FROM jsonb_to_recordset(CAST(:names AS jsonb)) AS n(month date, message bigint, target bigint)
  JOIN LATERAL (SELECT 1 FROM messages m WHERE m.id = n.message AND m.project_id = :project OFFSET 0) m ON true
  JOIN LATERAL (SELECT d.* FROM deliveries d WHERE d.month = n.month AND d.message_id = n.message
                   AND d.target_id = n.target OFFSET 0) d ON true
""")

_LOCK = text("""
SELECT b.month, b.id, b.provider_id FROM batches b
  JOIN unnest(CAST(:months AS date[]), CAST(:ids AS bigint[])) AS n(month, id) ON b.month = n.month AND b.id = n.id
 ORDER BY b.month, b.id FOR UPDATE OF b
""")

_READ = text("""
SELECT d.month, d.message_id, d.target_id, d.batch_id, d.status, d.doubts
  FROM jsonb_to_recordset(CAST(:names AS jsonb)) AS n(month date, message bigint, target bigint)
  JOIN LATERAL (SELECT d.* FROM deliveries d WHERE d.month = n.month AND d.message_id = n.message
                   AND d.target_id = n.target OFFSET 0) d ON true
""")


def lock_named(connection: Connection, project_id: int, names: Collection[Name]) -> dict[Name, Known]:
    """Those of `names` that are deliveries of the project, as they stand once nobody else may move them."""
    batches.look_up(connection)
    found = connection.execute(_FIND, {"names": _names(names), "project": project_id}).all()
    if not found:
        return {}
    refs = sorted({(row.month, row.batch_id) for row in found})
    locked = connection.execute(_LOCK, {"months": [month for month, _ in refs], "ids": [id_ for _, id_ in refs]})
    providers = {(row.month, row.id): row.provider_id for row in locked}
    there = [Name(row.month, row.message_id, row.target_id) for row in found]
    rows = connection.execute(_READ, {"names": _names(there)})
    return {
        Name(row.month, row.message_id, row.target_id): Known(
            status=_S.of(row.status),
            doubts=row.doubts,
            batch_id=row.batch_id,
            provider_id=providers[row.month, row.batch_id],
        )
        for row in rows
        if (row.month, row.batch_id) in providers  # one that moved to another batch meanwhile is told again later
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """Where a receipt leads one delivery."""

    name: Name
    was: DeliveryStatus
    status: DeliveryStatus
    batch_id: int
    error_code: str | None = None
    error: str | None = None
    provider_message_id: str | None = None


_APPLY = text(f"""
UPDATE deliveries d SET
       status = n.status, updated_at = now(), due_at = NULL,
       accepted_at = CASE WHEN n.status IN ({_S.ACCEPTED.code}, {_S.DELIVERED.code})
                          THEN coalesce(d.accepted_at, now()) ELSE d.accepted_at END,
       error_code = n.code, error = n.error, provider_message_id = coalesce(d.provider_message_id, n.provider_id)
  FROM jsonb_to_recordset(CAST(:moves AS jsonb))
       AS n(month date, message bigint, target bigint, was smallint, status smallint, code text, error text,
            provider_id text)
 WHERE d.month = n.month AND d.message_id = n.message AND d.target_id = n.target AND d.status = n.was
RETURNING d.month, d.message_id, d.batch_id, n.was, n.status
""")


def apply_receipts(connection: Connection, moves: Sequence[Move]) -> int:
    """Make `moves` of deliveries that `lock_named` locked, and count them with their batches and messages."""
    if not moves:
        return 0
    said = [
        _said(move.name)
        | {
            "was": move.was.code,
            "status": move.status.code,
            "code": move.error_code,
            "error": move.error,
            "provider_id": move.provider_message_id,
        }
        for move in moves
    ]
    rows = connection.execute(_APPLY, {"moves": json.dumps(said)}).all()
    by_batch: dict[BatchRef, Counter[str]] = {}
    for row in rows:
        counted = by_batch.setdefault(BatchRef(row.month, row.batch_id), Counter())
        counted[_S.of(row.status).value] += 1
        if _S.of(row.was).is_settled:
            counted[_S.of(row.was).value] -= 1
    batches.count_all(connection, by_batch)
    finishing.fold_again(connection, {row.message_id for row in rows})
    return len(rows)


def _said(name: Name) -> dict[str, object]:
    return {"month": name.month.isoformat(), "message": name.message_id, "target": name.target_id}


def _names(names: Collection[Name]) -> str:
    """As JSON: lists of dates cost psycopg more than all the rest."""
    return json.dumps([_said(name) for name in names])
