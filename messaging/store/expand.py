"""Expand an audience into deliveries and batches, a page at a time, in one statement.

The audience is the union of subscribers, users' targets and named targets of one channel, read in
target order from a cursor: that de-duplicates across sources for nothing, and a page is the same
whoever reads it. Each source is read by an index and bounded by the page, so neither memory nor the
plan depends on the size of a topic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import Channel, Lane
from messaging.status import DeliveryStatus


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Who a message names, by integer keys."""

    channel: Channel
    topic_ids: Sequence[int] = ()
    user_ids: Sequence[int] = ()
    target_ids: Sequence[int] = ()
    cc_ids: Sequence[int] = ()
    bcc_ids: Sequence[int] = ()


SHARES = 1000
"""Into so many parts an audience is divided to share it out among providers."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """Where the targets of one provider go: the provider that will serve them, and its batch size."""

    provider_id: int
    """0 stands for targets that name no provider."""
    effective_id: int
    """0: nobody can serve them."""
    kind: str
    """Kind of the provider that will serve them."""
    task_size: int
    low: int = 0
    high: int = SHARES
    """It serves those of its targets whose share of `SHARES` lies from `low` to below `high`."""


@dataclass(frozen=True, kw_only=True)
class Expanding:
    """The message whose audience is expanded, and how far it has come."""

    project_id: int
    message_id: int
    month: date
    lane: Lane
    cursor: int
    mark: int


@dataclass(frozen=True, kw_only=True)
class Expansion:
    """What one page brought."""

    cursor: int
    """Highest target id read; the next page starts after it."""
    complete: bool
    """True when the audience has been read to its end."""
    deliveries: int
    suppressed: int
    """Of them, settled at once: on the suppression list."""
    failed: int
    """Of them, settled at once: nobody serves them."""
    batches: Sequence[tuple[int, int]]
    """(batch id, provider id) of those to hint at once: within the quota, and with something to send."""


_SOURCE = """
    SELECT x.target_id, 0 AS role
      FROM unnest(CAST(:topics AS bigint[])) AS topic(id)
      CROSS JOIN LATERAL (
        SELECT s.target_id FROM subscribers s
         WHERE s.topic_id = topic.id AND s.channel = :channel AND s.target_id > :cursor AND s.id <= :mark
         ORDER BY s.target_id LIMIT :page) x
    UNION ALL
    (SELECT t.id, 0 FROM targets t
      WHERE t.user_id = ANY(CAST(:users AS bigint[])) AND t.channel = :channel AND t.id > :cursor
      ORDER BY t.id LIMIT :page)
    UNION ALL SELECT id, 0 FROM unnest(CAST(:targets AS bigint[])) AS id WHERE id > :cursor
    UNION ALL SELECT id, 1 FROM unnest(CAST(:cc AS bigint[])) AS id WHERE id > :cursor
    UNION ALL SELECT id, 2 FROM unnest(CAST(:bcc AS bigint[])) AS id WHERE id > :cursor
"""

_PAGE = f"""
    SELECT target_id, min(role) AS role FROM ({_SOURCE}) AS source
     GROUP BY target_id ORDER BY target_id LIMIT :page
"""

_REACHABLE = """
      JOIN targets t ON t.id = p.target_id AND t.channel = :channel
       AND t.expired_at IS NULL AND t.dead_at IS NULL
"""

_PARTS = 2**20
"""More than a page has batches: one number names provider and batch, and so their join compares each row once."""

_EXPAND = text(f"""
WITH page AS MATERIALIZED ({_PAGE}),
route AS MATERIALIZED (
    SELECT * FROM unnest(CAST(:route_from AS bigint[]), CAST(:route_to AS bigint[]), CAST(:route_size AS int[]),
                         CAST(:route_low AS int[]), CAST(:route_high AS int[]))
        AS r(from_id, provider_id, task_size, low, high)
),
picked AS MATERIALIZED (
    SELECT p.target_id, p.role, coalesce(r.provider_id, 0) AS provider_id, coalesce(r.task_size, 1000) AS task_size,
           CASE WHEN x.address_hash IS NOT NULL THEN {DeliveryStatus.SUPPRESSED.code}
                WHEN coalesce(r.provider_id, 0) = 0 THEN {DeliveryStatus.FAILED.code}
                ELSE {DeliveryStatus.QUEUED.code} END AS status
      FROM page p {_REACHABLE}
      LEFT JOIN route r ON r.from_id = coalesce(t.provider_id, 0) AND (r.low = 0 AND r.high = {SHARES}
           OR mod(abs(hashint8(t.id # :message)::bigint), {SHARES}) BETWEEN r.low AND r.high - 1)
      LEFT JOIN suppressions x ON x.project_id = :project AND x.channel = :channel
           AND x.address_hash = t.address_hash AND (x.scope = 'everything' OR :bulk)
),
numbered AS (
    SELECT *, provider_id * {_PARTS} + (row_number() OVER (PARTITION BY provider_id ORDER BY target_id) - 1) / task_size
           AS part
      FROM picked
),
grouped AS (
    SELECT provider_id, part, min(target_id) AS first, max(target_id) AS last, count(*) AS total,
           count(*) FILTER (WHERE status = {DeliveryStatus.SUPPRESSED.code}) AS suppressed,
           count(*) FILTER (WHERE status = {DeliveryStatus.FAILED.code}) AS failed
      FROM numbered GROUP BY provider_id, part
),
chunk AS MATERIALIZED (
    SELECT g.*, nextval('batch_ids') AS id, g.suppressed + g.failed = g.total AS settled,
           row_number() OVER (ORDER BY g.first) <= :quota AS hinted
      FROM grouped g
),
new_batch AS (
    INSERT INTO batches (month, id, message_id, provider_id, channel, lane, state, first_target, last_target,
                         total, suppressed, failed, hinted_at, hints)
    SELECT :month, id, :message, nullif(provider_id, 0), :channel, :lane, CASE WHEN settled THEN 2 ELSE 0 END,
           first, last, total, suppressed, failed,
           CASE WHEN hinted THEN now() END, CASE WHEN hinted THEN 1 ELSE 0 END
      FROM chunk
),
new_delivery AS (
    INSERT INTO deliveries (month, message_id, target_id, batch_id, role, status, error_code, error)
    SELECT :month, :message, n.target_id, c.id, n.role, n.status,
           CASE WHEN n.status = {DeliveryStatus.FAILED.code} THEN 'no_enabled_provider'
                WHEN n.status = {DeliveryStatus.SUPPRESSED.code} THEN 'suppressed' END,
           CASE WHEN n.status = {DeliveryStatus.FAILED.code} THEN 'The provider this target belongs to is not enabled.'
                WHEN n.status = {DeliveryStatus.SUPPRESSED.code} THEN 'The address is on the suppression list.' END
      FROM numbered n JOIN chunk c ON c.part = n.part
     ORDER BY n.target_id
)
SELECT p.cursor, p.scanned, c.id, c.provider_id, c.total, c.suppressed, c.failed, c.hinted AND NOT c.settled AS hint
  FROM (SELECT coalesce(max(target_id), :cursor) AS cursor, count(*) AS scanned FROM page) p
  LEFT JOIN chunk c ON true
 ORDER BY c.first
""")

_COUNT = text(f"""
SELECT count(*) AS scanned, count(t.id) AS reachable FROM ({_PAGE}) p
  LEFT JOIN targets t ON t.id = p.target_id AND t.channel = :channel AND t.expired_at IS NULL AND t.dead_at IS NULL
""")

_NOW_MARK = text("SELECT last_value FROM subscribers_id_seq")

NO_MARK = 2**62


def _audience(audience: Audience, *, cursor: int, mark: int, page: int) -> dict[str, Any]:
    return {
        "channel": audience.channel,
        "topics": list(audience.topic_ids),
        "users": list(audience.user_ids),
        "targets": list(audience.target_ids),
        "cc": list(audience.cc_ids),
        "bcc": list(audience.bcc_ids),
        "cursor": cursor,
        "mark": mark,
        "page": page,
    }


def current_mark(connection: Connection) -> int:
    """The highest subscription number handed out so far: later subscriptions are not in the audience."""
    return int(connection.execute(_NOW_MARK).scalar_one())


def count_audience(connection: Connection, audience: Audience, *, limit: int) -> tuple[int, int]:
    """(targets named, targets that can be reached now), counting up to `limit`."""
    row = connection.execute(_COUNT, _audience(audience, cursor=0, mark=NO_MARK, page=limit)).one()
    return row.scanned, row.reachable


def expand_page(
    connection: Connection,
    message: Expanding,
    audience: Audience,
    routes: Sequence[Route],
    *,
    page: int,
    hint_quota: int,
) -> Expansion:
    """Insert the deliveries and batches of the next `page` targets after the message's cursor.

    The first `hint_quota` batches are marked as hinted; the caller publishes them after commit.
    """
    parameters = _audience(audience, cursor=message.cursor, mark=message.mark, page=page) | {
        "project": message.project_id,
        "message": message.message_id,
        "month": message.month,
        "lane": message.lane,
        # a topic's reader who opted out did so of topics, however small they are
        "bulk": message.lane is Lane.BULK or bool(audience.topic_ids),
        "quota": hint_quota,
        "route_from": [route.provider_id for route in routes],
        "route_to": [route.effective_id for route in routes],
        "route_size": [route.task_size for route in routes],
        "route_low": [route.low for route in routes],
        "route_high": [route.high for route in routes],
    }
    rows = connection.execute(_EXPAND, parameters).all()
    return Expansion(
        cursor=rows[0].cursor,
        complete=rows[0].scanned < page,
        deliveries=sum(row.total or 0 for row in rows),
        suppressed=sum(row.suppressed or 0 for row in rows),
        failed=sum(row.failed or 0 for row in rows),
        batches=[(row.id, row.provider_id) for row in rows if row.hint],
    )


def this_month(now: datetime) -> date:
    """The partition a message belongs to whose fan-out starts at `now`."""
    return date(now.year, now.month, 1)


def estimate(connection: Connection, audience: Audience) -> int:
    """About how many targets the audience has: topics counted one by one, so doubles count twice."""
    counted = connection.execute(
        text("""
        SELECT (SELECT count(*) FROM subscribers WHERE topic_id = ANY(CAST(:topics AS bigint[])) AND channel = :channel)
             + (SELECT count(*) FROM targets WHERE user_id = ANY(CAST(:users AS bigint[])) AND channel = :channel)
        """),
        {"topics": list(audience.topic_ids), "users": list(audience.user_ids), "channel": audience.channel},
    ).scalar_one()
    named: Mapping[str, Sequence[int]] = {"to": audience.target_ids, "cc": audience.cc_ids, "bcc": audience.bcc_ids}
    return int(counted) + sum(len(ids) for ids in named.values())
