"""What is going on: a few figures for the first page, each found by an index whatever the size of the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from messaging.channel import Channel, Lane
from messaging.status import DeliveryStatus, MessageState
from messaging.store import messages
from messaging.store.messages import MessageView

_ACTIVE = text(f"""
SELECT id FROM messages WHERE finished_at IS NULL
   AND state IN ({MessageState.PROCESSING.code}, {MessageState.PAUSED.code})
   AND project_id = :project AND deleted_at IS NULL
 ORDER BY id DESC LIMIT :limit
""")

_SCHEDULED = text(f"""
SELECT id FROM messages WHERE state = {MessageState.SCHEDULED.code} AND project_id = :project AND deleted_at IS NULL
 ORDER BY scheduled_at LIMIT :limit
""")


def active(connection: Connection, project_id: int, *, limit: int = 20) -> Sequence[MessageView]:
    """Messages going out or paused, the newest first."""
    ids = connection.execute(_ACTIVE, {"project": project_id, "limit": limit}).scalars().all()
    return messages.views(connection, project_id, ids)


def scheduled(connection: Connection, project_id: int, *, limit: int = 5) -> Sequence[MessageView]:
    """Messages whose time comes, the next first."""
    ids = connection.execute(_SCHEDULED, {"project": project_id, "limit": limit}).scalars().all()
    return messages.views(connection, project_id, ids)


@dataclass(frozen=True, slots=True)
class Due:
    """What of a channel and lane should be with a worker."""

    channel: Channel
    lane: Lane
    batches: int
    """Counted up to a thousand."""
    oldest_s: float
    """Seconds for which the oldest has been due."""


_DUE = text("""
SELECT queue.channel, queue.lane, found.batches, extract(epoch FROM now() - found.oldest)::float8 AS oldest_s
  FROM unnest(CAST(:channels AS text[]), CAST(:lanes AS text[])) WITH ORDINALITY AS queue(channel, lane, place)
  CROSS JOIN LATERAL (
    SELECT count(*) AS batches, min(due_at) AS oldest
      FROM (SELECT due_at FROM batches WHERE state = 0 AND due_at <= now() AND channel = queue.channel
               AND lane = queue.lane ORDER BY due_at LIMIT 1000) each) found
 ORDER BY queue.place
""")


def due(connection: Connection) -> Sequence[Due]:
    """For every channel and lane, of all projects: they share the workers."""
    every = [(channel, lane) for channel in Channel for lane in Lane]
    rows = connection.execute(_DUE, {"channels": [each[0] for each in every], "lanes": [each[1] for each in every]})
    return [Due(Channel(row.channel), Lane(row.lane), row.batches, row.oldest_s or 0.0) for row in rows]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why deliveries failed of late."""

    code: str
    reason: str
    count: int


_REASONS = text(f"""
SELECT coalesce(w.error_code, 'unknown') AS code, max(coalesce(w.error, '')) AS reason, count(*) AS n
  FROM (SELECT d.error_code, d.error
          FROM (SELECT b.* FROM messages m JOIN batches b ON b.month = m.month AND b.message_id = m.id
                 WHERE m.project_id = :project AND m.id = ANY(CAST(:messages AS bigint[])) AND b.failed > 0
                 LIMIT 200) b
          CROSS JOIN LATERAL (
            SELECT d.error_code, d.error FROM deliveries d
             WHERE d.month = b.month AND d.message_id = b.message_id AND d.batch_id = b.id
               AND d.target_id BETWEEN b.first_target AND b.last_target AND d.status = {DeliveryStatus.FAILED.code}
             LIMIT 50) d
         LIMIT 1000) w
 GROUP BY 1 ORDER BY 3 DESC LIMIT 8
""")


def reasons(connection: Connection, project_id: int, numbers: Sequence[int]) -> Sequence[Reason]:
    """Why deliveries of those messages failed, of up to a thousand of them, the commonest first."""
    rows = connection.execute(_REASONS, {"project": project_id, "messages": list(numbers)})
    return [Reason(row.code, row.reason, row.n) for row in rows]
