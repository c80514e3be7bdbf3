"""The ledger of a message as a list that can be filtered, ordered and paged."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from messaging.ids import parse_delivery_tag
from messaging.status import DeliveryStatus
from messaging.store import delivery_views, lists
from messaging.store.delivery_views import DeliveryView
from messaging.store.lists import Attribute, Kind, ListOf, Wanted
from messaging.store.messages import MessageView

_STATUS = "CASE d.status " + " ".join(f"WHEN {s.code} THEN '{s}'" for s in DeliveryStatus) + " END"
_ROLE = "CASE d.role WHEN 0 THEN 'to' WHEN 1 THEN 'cc' ELSE 'bcc' END"


def _target_number(tag: str) -> int:
    found = parse_delivery_tag(tag)
    if found is None:
        raise ValueError(tag)
    return found[2]


_LIST = ListOf(
    what="Delivery",
    columns=delivery_views.COLUMNS,
    source=delivery_views.SOURCE,
    where="d.month = :month AND d.message_id = :message",
    number="d.target_id",
    public_id="d.target_id",
    cursor=_target_number,
    counted=100_000_000,
    attributes={
        "$createdAt": Attribute("b.created_at", Kind.TIME),
        "$updatedAt": Attribute("d.updated_at", Kind.TIME),
        "$sequence": Attribute("d.target_id", Kind.NUMBER),
        "targetId": Attribute("t.public_id"),
        "identifier": Attribute("t.identifier"),
        "userId": Attribute("(SELECT u.public_id FROM users u WHERE u.id = t.user_id)"),
        "providerId": Attribute("p.public_id"),
        "status": Attribute(_STATUS),
        "role": Attribute(_ROLE),
        "attempts": Attribute("d.attempts", Kind.NUMBER),
        "errorCode": Attribute("d.error_code"),
        "acceptedAt": Attribute("d.accepted_at", Kind.TIME),
    },
)


@dataclass(frozen=True, kw_only=True)
class DeliveryPage:
    """A page of the ledger, and how many rows match."""

    deliveries: list[DeliveryView]
    total: int


def listed(connection: Connection, message: MessageView, wanted: Wanted) -> DeliveryPage:
    """Deliveries of the message as `wanted` filters and orders them; raises `QueryError` or `CursorError`."""
    if message.month is None:
        return DeliveryPage(deliveries=[], total=0)
    found = lists.page(connection, _LIST, wanted, {"month": message.month, "message": message.number})
    return DeliveryPage(deliveries=[delivery_views.view(row) for row in found.rows], total=found.total)
