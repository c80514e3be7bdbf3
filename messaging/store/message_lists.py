"""Lists of messages, of the targets a message names, and of what went wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from messaging.status import WIRE_STATUS, DeliveryStatus
from messaging.store import lists, messages
from messaging.store.lists import Attribute, Kind, ListOf, Wanted, common_attributes
from messaging.store.messages import MessageView

MOST_ERRORS = 100

_S = DeliveryStatus
_STATUS = "CASE m.state " + " ".join(f"WHEN {s.code} THEN '{word}'" for s, word in WIRE_STATUS.items()) + " END"
_STATE = "CASE m.state " + " ".join(f"WHEN {s.code} THEN '{s}'" for s in WIRE_STATUS) + " END"
_DELIVERED = (
    "(SELECT coalesce(sum(b.accepted + b.delivered), 0) FROM batches b WHERE b.month = m.month AND b.message_id = m.id)"
)

_LIST = ListOf(
    what="Message",
    columns="m.id",
    source="messages m",
    where="m.project_id = :project AND m.deleted_at IS NULL",
    number="m.id",
    public_id="m.public_id",
    search=(
        f"concat_ws(' ', m.public_id, {_STATUS}, m.content ->> 'subject', m.content ->> 'title',"
        " m.content ->> 'content', m.content ->> 'body')"
    ),
    attributes={
        **common_attributes("m."),
        "scheduledAt": Attribute("m.scheduled_at", Kind.TIME),
        "deliveredAt": Attribute("CASE WHEN m.month IS NOT NULL THEN m.finished_at END", Kind.TIME),
        "deliveredTotal": Attribute(_DELIVERED, Kind.NUMBER),
        "status": Attribute(_STATUS),
        "state": Attribute(_STATE),
        "description": Attribute("coalesce(m.content ->> 'subject', m.content ->> 'title')"),
        "providerType": Attribute("m.channel"),
    },
)


@dataclass(frozen=True, kw_only=True)
class MessagePage:
    """A page of messages, and how many there are."""

    messages: list[MessageView]
    total: int


def listed(connection: Connection, project_id: int, wanted: Wanted) -> MessagePage:
    """Messages as `wanted` filters and orders them; raises `QueryError` or `CursorError`."""
    found = lists.page(connection, _LIST, wanted, {"project": project_id})
    views = messages.views(connection, project_id, [row["id"] for row in found.rows])
    return MessagePage(messages=views, total=found.total)


@dataclass(frozen=True, slots=True)
class Wrong:
    """One delivery that did not arrive, or may not have."""

    identifier: str | None
    """None when the target has been deleted."""
    status: DeliveryStatus
    reason: str


# Batch by batch, those with failures first asked: a message of a million with three failures reads three batches.
_WRONG = text(f"""
SELECT t.identifier, w.status, coalesce(w.error, w.error_code, '') AS reason
  FROM (SELECT d.target_id, d.status, d.error, d.error_code
          FROM batches b
          CROSS JOIN LATERAL (
            SELECT * FROM deliveries d
             WHERE d.month = b.month AND d.message_id = b.message_id AND d.batch_id = b.id
               AND d.target_id BETWEEN b.first_target AND b.last_target
               AND d.status IN ({_S.FAILED.code}, {_S.UNKNOWN.code}, {_S.EXPIRED.code}, {_S.SUPPRESSED.code})
             ORDER BY d.target_id LIMIT :most) d
         WHERE b.month = (SELECT month FROM messages WHERE id = :message) AND b.message_id = :message
           AND b.failed + b.unknown + b.expired + b.suppressed > 0
         LIMIT :most) w
  LEFT JOIN targets t ON t.id = w.target_id
""")


def wrong(connection: Connection, message: MessageView) -> Sequence[Wrong]:
    """Up to 100 deliveries of the message that failed, expired, were suppressed or are unknown."""
    counted = (_S.FAILED, _S.UNKNOWN, _S.EXPIRED, _S.SUPPRESSED)
    if message.month is None or not any(message.totals.get(status) for status in counted):
        return []
    rows = connection.execute(_WRONG, {"message": message.number, "most": MOST_ERRORS})
    return [Wrong(row.identifier, DeliveryStatus.of(row.status), row.reason) for row in rows]
