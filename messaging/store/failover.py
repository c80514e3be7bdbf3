"""Fail-over: what a stopped account certainly did not send goes to another that works, in order of priority.

Another account may take over where it can reach the address: any of the channel for email and text messages, one of
the same kind and app for push. A message that is fixed to its provider (a test of an account) stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, Row, text

from messaging.channel import Channel, Lane
from messaging.store import ledger_moves
from messaging.store.batches import BatchRef, BatchState, Hint, deliver_hint

MOST_MOVES = 6
"""Of a delivery between providers that fail in turn; after that it waits where it is."""

_ALTERNATIVE = """
SELECT o.id, o.kind FROM providers o
 WHERE o.project_id = p.project_id AND o.channel = p.channel AND o.id <> p.id AND o.enabled AND o.stopped_at IS NULL
   AND (p.channel <> 'push' OR o.kind = p.kind AND o.app = p.app)
 ORDER BY o.priority, CASE WHEN o.weight > 0 THEN -ln(1 - random()) / o.weight ELSE 'Infinity' END, o.id LIMIT 1
"""

_IS_DOWN = "(NOT p.enabled OR p.stopped_at IS NOT NULL AND (p.stopped_until IS NULL OR p.stopped_until > now()))"

_WAITING = text(f"""
SELECT b.month, b.id, b.channel, b.lane, o.id AS provider_id, o.kind
  FROM providers p CROSS JOIN LATERAL ({_ALTERNATIVE}) o
  JOIN batches b ON b.provider_id = p.id AND b.state = {BatchState.WAITING:d} AND b.moves < {MOST_MOVES}
  JOIN messages m ON m.id = b.message_id AND m.state = 2 AND m.fixed_provider_id IS NULL
   AND m.expires_at > now()
 WHERE {_IS_DOWN}
 LIMIT :limit FOR UPDATE OF b SKIP LOCKED
""")

_ONE = text(f"""
SELECT b.month, b.id, b.channel, b.lane, o.id AS provider_id, o.kind
  FROM batches b JOIN providers p ON p.id = b.provider_id CROSS JOIN LATERAL ({_ALTERNATIVE}) o
  JOIN messages m ON m.id = b.message_id AND m.state = 2 AND m.fixed_provider_id IS NULL AND m.expires_at > now()
 WHERE b.month = :month AND b.id = :id AND b.state = {BatchState.WAITING:d} AND b.moves < {MOST_MOVES}
   FOR UPDATE OF b
""")

_SETTLED = text(f"UPDATE batches SET moves = {MOST_MOVES} WHERE month = :month AND id = :id")


@dataclass(frozen=True, slots=True)
class Moved:
    """What was handed over."""

    deliveries: int
    hints: Sequence[Hint]


def any_down(connection: Connection) -> bool:
    """Whether any account does not work while another could stand in: the cheap question before the full one."""
    found = connection.execute(
        text(f"SELECT EXISTS (SELECT 1 FROM providers p CROSS JOIN LATERAL ({_ALTERNATIVE}) o WHERE {_IS_DOWN})")
    ).scalar_one()
    return bool(found)


def move_waiting(connection: Connection, *, limit: int) -> Moved:
    """Hand over what waits for accounts that don't work, up to `limit` batches."""
    return _move(connection, connection.execute(_WAITING, {"limit": limit}).all())


def move_one(connection: Connection, ref: BatchRef) -> Moved:
    """Hand over what waits in one batch, whether or not its account is stopped: this try failed, another may not."""
    return _move(connection, connection.execute(_ONE, {"month": ref.month, "id": ref.id}).all())


def _move(connection: Connection, rows: Sequence[Row[tuple[object, ...]]]) -> Moved:
    hints: list[Hint] = []
    deliveries = 0
    for row in rows:
        moved = ledger_moves.move(connection, BatchRef(row.month, row.id), row.provider_id)
        if moved is None:
            # nothing in it may be moved, ever: what may have arrived stays
            connection.execute(_SETTLED, {"month": row.month, "id": row.id})
            continue
        deliveries += moved[1]
        hints.append(deliver_hint(moved[0], Channel(row.channel), Lane(row.lane), row.kind))
    return Moved(deliveries, hints)
