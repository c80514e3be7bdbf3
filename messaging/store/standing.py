"""How things stand, over all projects: what is due, what waits, which accounts work. One statement each, by index.

What could be many is counted up to a limit, so that whoever asks during an incident does not make it worse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from messaging.channel import Channel, Lane
from messaging.status import MessageState
from messaging.store.batches import BatchState

MOST = 100_000
"""Batches and receipts are counted up to so many."""
_PATIENCE_MS = 2000
"""What takes the database longer than this is given up."""
_LATE_S = 10
_M = MessageState


@dataclass(frozen=True, kw_only=True, slots=True)
class Due:
    """The work of one channel and lane that waits for a worker, and what workers have."""

    channel: Channel
    lane: Lane
    batches: int = 0
    deliveries: int = 0
    oldest_s: float = 0.0
    leased: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ProviderState:
    """How one account is doing."""

    project: str
    provider: str
    channel: Channel
    kind: str
    state: str
    """`working`, `paused` (its breaker is open and closes by itself), `stopped` or `disabled`."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """All of it."""

    due: Sequence[Due]
    messages: Mapping[MessageState, int]
    overdue: int
    """Scheduled messages whose time came a while ago."""
    providers: Sequence[ProviderState]
    quarantine: Mapping[str, int]
    receipts_waiting: int


def read(connection: Connection) -> Standing:
    """How things stand now. Raises `DBAPIError` for a database that takes too long."""
    connection.execute(text(f"SET LOCAL statement_timeout = {_PATIENCE_MS}"))
    messages = {_M.of(row.state): int(row.found) for row in connection.execute(_MESSAGES)}
    row = connection.execute(_WAITING, {"most": MOST}).one()
    return Standing(
        due=_due(connection),
        messages={state: messages.get(state, 0) for state in (_M.SCHEDULED, _M.PROCESSING, _M.PAUSED)},
        overdue=row.overdue,
        providers=[
            ProviderState(
                project=each.project,
                provider=each.provider,
                channel=Channel(each.channel),
                kind=each.kind,
                state=each.state,
            )
            for each in connection.execute(_PROVIDERS)
        ],
        quarantine={each.what: int(each.found) for each in connection.execute(_QUARANTINE)},
        receipts_waiting=row.receipts,
    )


# The two partial indexes of batches in order of their times, so that the oldest is among those counted.
_DUE = text(f"""
SELECT channel, lane, count(*) AS batches, sum(open) AS deliveries,
       extract(epoch FROM now() - min(since))::float8 AS oldest_s
  FROM (SELECT * FROM (SELECT channel, lane, due_at AS since,
                   total - accepted - delivered - failed - unknown - expired - cancelled - suppressed AS open
              FROM batches WHERE state = {BatchState.WAITING:d} AND due_at <= now() ORDER BY due_at LIMIT :most) waiting
        UNION ALL
        SELECT * FROM (SELECT channel, lane, lease_until AS since,
                   total - accepted - delivered - failed - unknown - expired - cancelled - suppressed AS open
              FROM batches WHERE state = {BatchState.LEASED:d} AND lease_until < now()
             ORDER BY lease_until LIMIT :most) lost) due
 GROUP BY channel, lane
""")

_LEASED = text(f"""
SELECT channel, lane, count(*) AS batches
  FROM (SELECT channel, lane FROM batches WHERE state = {BatchState.LEASED:d} AND lease_until >= now()
         LIMIT :most) leased
 GROUP BY channel, lane
""")


def _due(connection: Connection) -> list[Due]:
    due = {(row.channel, row.lane): row for row in connection.execute(_DUE, {"most": MOST})}
    leased = {(row.channel, row.lane): int(row.batches) for row in connection.execute(_LEASED, {"most": MOST})}
    found = []
    for channel in Channel:
        for lane in Lane:
            row, has = due.get((channel, lane)), leased.get((channel, lane), 0)
            found.append(
                Due(channel=channel, lane=lane, leased=has)
                if row is None
                else Due(
                    channel=channel,
                    lane=lane,
                    batches=int(row.batches),
                    deliveries=int(row.deliveries),
                    oldest_s=max(0.0, row.oldest_s),
                    leased=has,
                )
            )
    return found


# `messages_active` and `messages_scheduled`, as their conditions are written there
_MESSAGES = text("""
SELECT state, count(*) AS found FROM messages WHERE finished_at IS NULL AND state IN (2, 3, 7) GROUP BY state
UNION ALL
SELECT 1, count(*) FROM messages WHERE state = 1
""")

_WAITING = text(f"""
SELECT (SELECT count(*) FROM messages
         WHERE state = {_M.SCHEDULED.code} AND scheduled_at < now() - interval '{_LATE_S} seconds') AS overdue,
       (SELECT count(*) FROM (SELECT 1 FROM receipts WHERE state = 0 LIMIT :most) waiting) AS receipts
""")

_PROVIDERS = text("""
SELECT r.public_id AS project, p.public_id AS provider, p.channel, p.kind,
       CASE WHEN NOT p.enabled THEN 'disabled' WHEN p.stopped_at IS NULL THEN 'working'
            WHEN p.stopped_until IS NULL THEN 'stopped' ELSE 'paused' END AS state
  FROM providers p JOIN projects r ON r.id = p.project_id
 ORDER BY r.public_id, p.public_id LIMIT 1000
""")

_QUARANTINE = text("SELECT kind AS what, count(*) AS found FROM quarantine GROUP BY kind")
