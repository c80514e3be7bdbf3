"""What the workers need of a message to send it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import Channel, OnUnknown
from messaging.content import content_from_json
from messaging.errors import NotFoundError
from messaging.message import Attachment, Content
from messaging.store import files

_MOST_VISIBLE = 10
"""A copy shows at most so many primary recipients."""


@dataclass(frozen=True, kw_only=True)
class OutgoingMessage:
    """A message as it leaves; it does not change once it is processing."""

    id: int
    public_id: str
    content: Content
    on_unknown: OnUnknown
    expires_at: datetime
    visible_to: tuple[str, ...]
    visible_cc: tuple[str, ...]
    is_to_topics: bool
    """Whoever opted out of bulk mail does not get it, in whichever lane it goes."""
    is_newsletter: bool
    """Email to a topic: its readers can end it with one click."""
    begun_s: float = 0.0
    """When it was accepted, or was to go out, by this process's monotonic clock: whatever clocks say, as long ago as
    the database says."""
    traceparent: str | None = None
    """The span it was accepted in."""
    unsendable: str = ""
    """Why it can't be sent to anybody: a file of it is gone."""


def load(connection: Connection, message_id: int) -> OutgoingMessage:
    """The message with its attachments."""
    row = connection.execute(
        text("""SELECT project_id, public_id, channel, content, on_unknown, expires_at, topic_ids, cc_ids, bcc_ids,
                       user_ids, target_ids, month, traceparent,
                       extract(epoch FROM now() - coalesce(begun_at, scheduled_at, created_at))::float8 AS age_s
                  FROM messages WHERE id = :id"""),
        {"id": message_id},
    ).one()
    stored: dict[str, Any] = row.content
    attachments: list[Attachment] = []
    unsendable = ""
    for each in stored.get("attachments", ()):
        try:
            attachments.append(
                files.load(connection, row.project_id, each["fileId"], bucket_id=each.get("bucketId", ""))
            )
        except NotFoundError:
            unsendable = f"The attachment '{each.get('filename') or each['fileId']}' was deleted before the email left."
    copied = bool(row.cc_ids or row.bcc_ids)
    return OutgoingMessage(
        id=message_id,
        public_id=row.public_id,
        content=content_from_json(Channel(row.channel), stored, attachments),
        on_unknown=OnUnknown(row.on_unknown),
        expires_at=row.expires_at,
        visible_to=_primary(connection, row.month, message_id) if copied and not row.topic_ids else (),
        visible_cc=_addresses(connection, row.cc_ids) if row.cc_ids else (),
        is_to_topics=bool(row.topic_ids),
        is_newsletter=row.channel == Channel.EMAIL and bool(row.topic_ids),
        begun_s=time.monotonic() - row.age_s,
        traceparent=row.traceparent,
        unsendable=unsendable,
    )


def _addresses(connection: Connection, ids: list[int]) -> tuple[str, ...]:
    rows = connection.execute(
        text("SELECT identifier FROM targets WHERE id = ANY(CAST(:ids AS bigint[])) ORDER BY id"), {"ids": ids}
    )
    return tuple(rows.scalars())


def _primary(connection: Connection, month: Any, message_id: int) -> tuple[str, ...]:  # noqa: ANN401  a date
    rows = connection.execute(
        text("""SELECT t.identifier FROM deliveries d JOIN targets t ON t.id = d.target_id
                 WHERE d.month = :month AND d.message_id = :message AND d.role = 0
                 ORDER BY d.target_id LIMIT :limit"""),
        {"month": month, "message": message_id, "limit": _MOST_VISIBLE + 1},
    )
    shown = tuple(rows.scalars())
    return shown if len(shown) <= _MOST_VISIBLE else ()
