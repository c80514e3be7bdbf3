"""How far a message's fan-out has come: its cursor, and who should be looking at it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import Channel, Lane
from messaging.status import MessageState
from messaging.store.expand import Audience

_M = MessageState


@dataclass(frozen=True, kw_only=True)
class ToExpand:
    """A message whose audience is not expanded to its end, locked for this transaction."""

    id: int
    project_id: int
    audience: Audience
    lane: Lane
    month: date
    mark: int
    cursor: int
    first_page: bool
    fixed_provider: int | None = None
    """Number of the one provider that may carry it."""
    traceparent: str | None = None
    """The span it was accepted in."""


_LOCK_FOR_EXPANSION = text(f"""
SELECT id, project_id, channel, lane, topic_ids, user_ids, target_ids, cc_ids, bcc_ids, month, mark, cursor,
       fixed_provider_id, traceparent,
       date_trunc('month', now() AT TIME ZONE 'UTC')::date AS this_month,
       (SELECT last_value FROM subscribers_id_seq) AS current_mark
  FROM messages WHERE id = :id AND state = {_M.PROCESSING.code} AND NOT expanded AND expires_at > now()
   FOR UPDATE SKIP LOCKED
""")


def lock_for_expansion(connection: Connection, message_id: int) -> ToExpand | None:
    """The message to expand, or None: done, paused, cancelled, expired, or another worker is at it."""
    row = connection.execute(_LOCK_FOR_EXPANSION, {"id": message_id}).one_or_none()
    if row is None:
        return None
    return ToExpand(
        id=row.id,
        project_id=row.project_id,
        audience=Audience(
            channel=Channel(row.channel),
            topic_ids=row.topic_ids,
            user_ids=row.user_ids,
            target_ids=row.target_ids,
            cc_ids=row.cc_ids,
            bcc_ids=row.bcc_ids,
        ),
        lane=Lane(row.lane),
        month=row.month or row.this_month,
        mark=row.current_mark if row.mark is None else row.mark,
        cursor=row.cursor,
        first_page=row.month is None,
        fixed_provider=row.fixed_provider_id,
        traceparent=row.traceparent,
    )


_ADVANCE = text("""
UPDATE messages SET month = :month, mark = :mark, cursor = :cursor, expanded = :complete, hinted_at = now(), hints = 1,
       estimate = coalesce(CAST(:estimate AS bigint), estimate), started_at = coalesce(started_at, now()),
       updated_at = now()
 WHERE id = :id
""")


def advance(
    connection: Connection, message: ToExpand, *, cursor: int, complete: bool, estimate: int | None = None
) -> None:
    """Move the cursor, in the transaction that inserted the page."""
    connection.execute(
        _ADVANCE,
        {
            "id": message.id,
            "month": message.month,
            "mark": message.mark,
            "cursor": cursor,
            "complete": complete,
            "estimate": estimate,
        },
    )


@dataclass(frozen=True, slots=True)
class Stalled:
    """A message whose fan-out somebody should look at."""

    id: int
    channel: Channel
    lane: Lane


_START_DUE = text(f"""
UPDATE messages m SET state = {_M.PROCESSING.code}, updated_at = now(), hinted_at = now(), hints = 1
  FROM (SELECT id FROM messages WHERE state = {_M.SCHEDULED.code} AND scheduled_at <= now()
         ORDER BY scheduled_at LIMIT :limit FOR UPDATE SKIP LOCKED) due
 WHERE m.id = due.id RETURNING m.id, m.channel, m.lane
""")

_STALLED = text(f"""
UPDATE messages m SET hinted_at = now(), hints = least(m.hints + 1, 100)
  FROM (SELECT id FROM messages WHERE finished_at IS NULL AND state = {_M.PROCESSING.code} AND NOT expanded
           AND expires_at > now()
           AND (hinted_at IS NULL
             OR hinted_at < now() - make_interval(secs => :pause_s * power(2, least(greatest(hints, 1), 6) - 1)))
         LIMIT :limit FOR UPDATE SKIP LOCKED) stalled
 WHERE m.id = stalled.id RETURNING m.id, m.channel, m.lane
""")


def start_due(connection: Connection, *, limit: int) -> list[Stalled]:
    """Messages whose time has come, moved from scheduled to processing. The database's clock decides."""
    return _stalled(connection.execute(_START_DUE, {"limit": limit}).all())


def stalled(connection: Connection, *, limit: int, pause_s: float) -> list[Stalled]:
    """Processing messages whose fan-out has not moved for a growing pause."""
    return _stalled(connection.execute(_STALLED, {"limit": limit, "pause_s": pause_s}).all())


def _stalled(rows: Sequence[Any]) -> list[Stalled]:
    return [Stalled(row.id, Channel(row.channel), Lane(row.lane)) for row in rows]


def fail(connection: Connection, message_id: int, reason: str) -> None:
    """End a message whose fan-out cannot begin."""
    connection.execute(
        text(f"""UPDATE messages SET state = {_M.FAILED.code}, failure = :reason, finished_at = now(),
                         updated_at = now()
                  WHERE id = :id AND month IS NULL"""),
        {"id": message_id, "reason": reason},
    )
