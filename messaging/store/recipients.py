"""The recipients of a message, a page at a time whatever its size.

The ledger of a message may have a million rows, and no index on what became of them. Its batches have counters for
every settled status: they say where to look, so a page reads a few batches and not the message.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from messaging.status import SETTLED, DeliveryStatus
from messaging.store import delivery_views
from messaging.store.delivery_views import DeliveryView
from messaging.store.messages import COUNTERS, MessageView

PATIENCE_S = 0.06
_S = DeliveryStatus
_OPEN = f"b.total > {' + '.join(f'b.{name}' for name in COUNTERS)}"
_WRONG = (_S.FAILED, _S.UNKNOWN, _S.EXPIRED, _S.SUPPRESSED)


class Place(NamedTuple):
    """How far a list has come: batch and target number of the last row."""

    batch: int
    target: int


START = Place(0, 0)


@dataclass(frozen=True, kw_only=True)
class RecipientView:
    """A row of the ledger, and where it belongs."""

    delivery: DeliveryView
    user_id: str | None
    place: Place


@dataclass(frozen=True, kw_only=True)
class RecipientPage:
    """Some recipients, and where the list goes on."""

    rows: list[RecipientView]
    after: Place | None
    """None at the end."""
    is_cut: bool = False
    """It stopped before the page was full; there may be more further on."""


_COLUMNS = f"{delivery_views.COLUMNS}, d.batch_id, u.public_id AS user_id"
_AROUND = f"{delivery_views.SOURCE.removeprefix('deliveries d')} LEFT JOIN users u ON u.id = t.user_id"

# Materialized: the planner would rather walk through everybody's batches in their order.
_BATCHES = """
WITH b AS MATERIALIZED (SELECT * FROM batches WHERE month = :month AND message_id = :message)
SELECT b.id FROM b WHERE b.id >= :batch AND {condition} ORDER BY b.id LIMIT :batches
"""
_ROWS = text(f"""
SELECT {_COLUMNS}
  FROM (SELECT f.* FROM batches b
         CROSS JOIN LATERAL (
           SELECT e.* FROM deliveries e
            WHERE e.month = b.month AND e.message_id = b.message_id AND e.batch_id = b.id
              AND e.target_id BETWEEN b.first_target AND b.last_target
              AND (b.id > :batch OR e.target_id > :target)
              AND (CAST(:status AS smallint) IS NULL OR e.status = :status)
            ORDER BY e.target_id LIMIT :limit) f
         WHERE b.month = :month AND b.id = ANY(CAST(:ids AS bigint[]))
         ORDER BY f.batch_id, f.target_id LIMIT :limit) d {_AROUND}
 ORDER BY d.batch_id, d.target_id
""")
_OF_TARGETS = text(f"""
SELECT {_COLUMNS} FROM deliveries d {_AROUND}
 WHERE d.month = :month AND d.message_id = :message AND d.target_id = ANY(CAST(:targets AS bigint[]))
 ORDER BY d.target_id
""")


def page(
    connection: Connection,
    message: MessageView,
    *,
    status: DeliveryStatus | None = None,
    after: Place = START,
    limit: int = 50,
    patience_s: float = PATIENCE_S,
) -> RecipientPage:
    """Up to `limit` recipients in the order of batches, those of a `status` where it is given."""
    if message.month is None:
        return RecipientPage(rows=[], after=None)
    ends_s = time.monotonic() + patience_s
    batches = text(_BATCHES.format(condition=_condition(status)))
    given: dict[str, Any] = {
        "month": message.month,
        "message": message.number,
        "status": None if status is None else status.code,
        "batches": limit,
    }
    rows: list[RecipientView] = []
    while True:
        ids = [*connection.execute(batches, given | after._asdict()).scalars()]
        asked = given | after._asdict() | {"ids": ids, "limit": limit + 1 - len(rows)}
        rows += [_view(row) for row in connection.execute(_ROWS, asked)] if ids else []
        if len(rows) > limit:
            return RecipientPage(rows=rows[:limit], after=rows[limit - 1].place)
        if len(ids) < limit:
            return RecipientPage(rows=rows, after=None)
        after = Place(ids[-1] + 1, 0)
        if time.monotonic() > ends_s:
            return RecipientPage(rows=rows, after=after, is_cut=True)


def _condition(status: DeliveryStatus | None) -> str:
    """Which batches may hold such a delivery."""
    if status is None:
        return "b.total > 0"
    if status in SETTLED:
        return f"b.{status} > 0"
    if status is _S.SENDING:
        return f"{_OPEN} AND b.claim > 0"  # nobody has taken up the others
    return _OPEN


def of_targets(connection: Connection, message: MessageView, targets: Sequence[int]) -> list[RecipientView]:
    """The message's deliveries to the targets of these numbers."""
    if message.month is None or not targets:
        return []
    given = {"month": message.month, "message": message.number, "targets": list(targets)}
    return [_view(row) for row in connection.execute(_OF_TARGETS, given)]


def _view(row: Row[Any]) -> RecipientView:
    return RecipientView(
        delivery=delivery_views.view(row._mapping),  # noqa: SLF001  SQLAlchemy's way to a row by name
        user_id=row.user_id,
        place=Place(row.batch_id, row.target_id),
    )


# -- why -------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Reason:
    """Why deliveries did not arrive, or may not have."""

    status: DeliveryStatus
    code: str
    example: str
    """What the provider said to one of them."""
    count: int


@dataclass(frozen=True, kw_only=True)
class Reasons:
    """The reasons, the commonest first."""

    reasons: list[Reason]
    looked_at: int
    of: int
    """Deliveries that did not arrive in all: more than `looked_at` where there are too many to look at each."""


_REASONS = text(f"""
SELECT w.status, coalesce(w.error_code, '') AS code, max(coalesce(w.error, '')) AS example, count(*) AS n
  FROM (SELECT d.status, d.error_code, d.error
          FROM (SELECT b.*, sum(b.total) OVER (ORDER BY hashint8(b.id), b.id) AS read FROM batches b
                 WHERE b.month = :month AND b.message_id = :message
                   AND b.failed + b.unknown + b.expired + b.suppressed > 0) b
          CROSS JOIN LATERAL (
            SELECT e.status, e.error_code, e.error FROM deliveries e
             WHERE e.month = b.month AND e.message_id = b.message_id AND e.batch_id = b.id
               AND e.target_id BETWEEN b.first_target AND b.last_target
               AND e.status IN ({", ".join(str(status.code) for status in _WRONG)})) d
         WHERE b.read - b.total < :most) w
 GROUP BY 1, 2 ORDER BY n DESC, code LIMIT 30
""")


def reasons(connection: Connection, message: MessageView, *, most: int = 40_000) -> Reasons:
    """Why deliveries of the message did not arrive; of a large message, about `most` rows from all over it are read."""
    wrong = sum(message.totals.get(status, 0) for status in _WRONG)
    if message.month is None or not wrong:
        return Reasons(reasons=[], looked_at=0, of=wrong)
    given = {"month": message.month, "message": message.number, "most": most}
    found = [
        Reason(status=_S.of(row.status), code=row.code, example=row.example, count=row.n)
        for row in connection.execute(_REASONS, given)
    ]
    return Reasons(reasons=found, looked_at=sum(each.count for each in found), of=wrong)
