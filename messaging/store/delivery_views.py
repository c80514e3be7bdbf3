"""Reading the ledger: what became of whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import Role
from messaging.errors import NotFoundError
from messaging.ids import delivery_tag, delivery_uuid
from messaging.status import DeliveryStatus

_ROLES = (Role.TO, Role.CC, Role.BCC)


@dataclass(frozen=True, kw_only=True)
class DeliveryView:
    """A row of the ledger as its reader sees it."""

    id: str
    target_id: str | None
    """None when the target has been deleted."""
    identifier: str | None
    provider_id: str | None
    status: DeliveryStatus
    role: Role
    attempts: int
    doubts: int
    """Attempts whose outcome is unknown."""
    provider_message_id: str | None
    error_code: str | None
    error: str | None
    accepted_at: datetime | None
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime
    cursor: int
    """Pass it as `after` to read on."""


COLUMNS = (
    "d.month, d.message_id, d.target_id, t.public_id AS target, t.identifier, p.public_id AS provider, d.status,"
    " d.role, d.attempts, d.doubts, d.provider_message_id, d.error_code, d.error, d.accepted_at, d.due_at,"
    " b.created_at, d.updated_at"
)
SOURCE = (
    "deliveries d LEFT JOIN targets t ON t.id = d.target_id"
    " LEFT JOIN batches b ON b.month = d.month AND b.id = d.batch_id LEFT JOIN providers p ON p.id = b.provider_id"
)

_PAGE = text(f"""
SELECT {COLUMNS} FROM {SOURCE}
 WHERE d.month = :month AND d.message_id = :message AND d.target_id > :after
   AND (CAST(:status AS smallint) IS NULL OR d.status = :status)
 ORDER BY d.target_id LIMIT :limit
""")


def page(
    connection: Connection,
    project_id: int,
    public_id: str,
    *,
    status: DeliveryStatus | None = None,
    after: int = 0,
    limit: int = 100,
) -> list[DeliveryView]:
    """Up to `limit` deliveries of a message in target order; raises `NotFoundError`."""
    message = connection.execute(
        text("SELECT id, month FROM messages WHERE project_id = :project AND public_id = :id"),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if message is None:
        raise NotFoundError("message", public_id)
    if message.month is None:
        return []
    rows = connection.execute(
        _PAGE,
        {
            "month": message.month,
            "message": message.id,
            "after": after,
            "status": None if status is None else status.code,
            "limit": limit,
        },
    )
    return [view(row) for row in rows.mappings()]


def view(row: Mapping[Any, Any]) -> DeliveryView:
    """The delivery in a row of `COLUMNS`."""
    month: date = row["month"]
    message, target = row["message_id"], row["target_id"]
    accepted = row["accepted_at"]
    return DeliveryView(
        id=delivery_tag(month, message, target),
        target_id=row["target"],
        identifier=row["identifier"],
        provider_id=row["provider"],
        status=DeliveryStatus.of(row["status"]),
        role=_ROLES[row["role"]],
        attempts=row["attempts"],
        doubts=row["doubts"],
        provider_message_id=row["provider_message_id"]
        or (str(delivery_uuid(month, message, target)) if accepted else None),
        error_code=row["error_code"],
        error=row["error"],
        accepted_at=accepted,
        due_at=row["due_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        cursor=target,
    )


def failures(connection: Connection, month: date, message_id: int) -> dict[str, int]:
    """How many deliveries of a message are in each error code, settled ones only."""
    rows = connection.execute(
        text("""SELECT coalesce(error_code, '') AS code, count(*) AS n FROM deliveries
                 WHERE month = :month AND message_id = :message AND status NOT IN (0, 1, 2, 3, 4)
                 GROUP BY 1 ORDER BY 2 DESC"""),
        {"month": month, "message": message_id},
    )
    return {row.code: row.n for row in rows}
