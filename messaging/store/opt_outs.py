"""Readers who end bulk mail by the link in it, and who change their minds."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, text

from messaging.receipt import Event
from messaging.store import suppressions
from messaging.store.suppressions import Scope

# The target's number is in the link, so it works when the message is long gone; the reader is shown in part only,
# for a forwarded newsletter carries the link along.
_READER = text("SELECT identifier FROM targets WHERE id = :target")


def reader(connection: Connection, month: date, message_id: int, target_id: int) -> str | None:  # noqa: ARG001  a name
    """Whose link it is, so that they know it and nobody else does: `a•••@example.com`; None once they are gone."""
    address = connection.execute(_READER, {"target": target_id}).scalar_one_or_none()
    if address is None:
        return None
    local, _, domain = str(address).rpartition("@")
    return f"{local[:1]}•••@{domain}"


def opt_out(connection: Connection, month: date, message_id: int, target_id: int) -> str | None:
    """End bulk mail to the reader of that delivery; who they are, None once they are gone. Again changes nothing."""
    suppressions.add_targets(connection, [target_id], scope=Scope.BULK, reason=f"{Event.UNSUBSCRIBED} link")
    _record(connection, month, message_id, target_id, Event.UNSUBSCRIBED)
    return reader(connection, month, message_id, target_id)


def opt_in(connection: Connection, month: date, message_id: int, target_id: int) -> str | None:
    """Take that back, and nothing else: not a bounce, not a complaint."""
    suppressions.remove_targets(connection, [target_id], scope=Scope.BULK)
    _record(connection, month, message_id, target_id, Event.RESUBSCRIBED)
    return reader(connection, month, message_id, target_id)


def _record(connection: Connection, month: date, message_id: int, target_id: int, event: Event) -> None:
    """Beside what providers tell about the delivery, where it is still there."""
    connection.execute(
        text("""
        INSERT INTO delivery_events (month, message_id, target_id, key, provider_id, event, at, reason)
        SELECT d.month, d.message_id, d.target_id, decode(md5(:event || clock_timestamp()), 'hex'),
               coalesce(b.provider_id, 0), :event, now(), 'by the link in the message'
          FROM deliveries d JOIN batches b ON b.month = d.month AND b.id = d.batch_id
         WHERE d.month = :month AND d.message_id = :message AND d.target_id = :target
           AND :event IS DISTINCT FROM (
               SELECT e.event FROM delivery_events e
                WHERE e.month = d.month AND e.message_id = d.message_id AND e.target_id = d.target_id
                  AND e.event IN ('unsubscribed', 'resubscribed') ORDER BY e.created_at DESC LIMIT 1)
        """),
        {"month": month, "message": message_id, "target": target_id, "event": event},
    )
