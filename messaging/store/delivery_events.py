"""Reading what providers told about deliveries: accepted, deferred, delivered, opened, … with their times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text

from messaging.receipt import Event


@dataclass(frozen=True, kw_only=True)
class EventView:
    """One thing that happened to a delivery."""

    event: Event
    at: datetime
    """By the provider's clock, or when we were told."""
    code: str | None
    reason: str | None


def of_deliveries(
    connection: Connection, month: date, message_id: int, target_ids: Sequence[int]
) -> dict[int, list[EventView]]:
    """What happened to these deliveries of a message, each in order; those nothing is known of are left out."""
    rows = connection.execute(
        text("""SELECT target_id, event, coalesce(at, created_at) AS at, code, reason FROM delivery_events
                 WHERE month = :month AND message_id = :message AND target_id = ANY(CAST(:targets AS bigint[]))
                 ORDER BY target_id, coalesce(at, created_at), created_at"""),
        {"month": month, "message": message_id, "targets": list(target_ids)},
    )
    found: dict[int, list[EventView]] = {}
    for row in rows:
        seen = EventView(event=Event(row.event), at=row.at, code=row.code, reason=row.reason)
        found.setdefault(row.target_id, []).append(seen)
    return found


def totals(connection: Connection, month: date, message_id: int) -> dict[Event, int]:
    """How many recipients of a message each event happened to: who opened it three times counts once."""
    rows = connection.execute(
        text("""SELECT event, count(DISTINCT target_id) AS n FROM delivery_events
                 WHERE month = :month AND message_id = :message GROUP BY event"""),
        {"month": month, "message": message_id},
    )
    counted = {Event(row.event): int(row.n) for row in rows}
    return {event: counted[event] for event in Event if event in counted}
