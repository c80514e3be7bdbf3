"""Subscribers of a topic a page at a time, in the order of its index: as fast for a million as for ten."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from messaging.channel import Channel
from messaging.store import received, targets
from messaging.store.targets import TargetView

COUNTED = 10_000
"""A list of topics counts subscribers up to here; a topic's own page counts them all."""


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """A subscriber of a topic."""

    id: str
    target: TargetView
    user_name: str
    created_at: datetime
    cursor: str
    """Pass it as `after` to read on."""


_COLUMNS = "s.public_id, s.target_id, s.channel, s.created_at"
# Found by the index first, joined after: a join in between could be planned the other way round.
_PAGE = text(f"""
SELECT {_COLUMNS}, coalesce(u.name, '') AS user_name
  FROM (SELECT {_COLUMNS} FROM subscribers s
         WHERE s.topic_id = :topic AND (s.channel, s.target_id) > (:channel, :target)
           AND (CAST(:only AS text) IS NULL OR s.channel = :only)
         ORDER BY s.channel, s.target_id LIMIT :limit) s
  LEFT JOIN targets t ON t.id = s.target_id LEFT JOIN users u ON u.id = t.user_id
 ORDER BY s.channel, s.target_id
""")


def page(
    connection: Connection, topic: int, *, channel: Channel | None = None, after: str = "", limit: int = 50
) -> Sequence[Subscription]:
    """Subscribers of the topic of that number by channel and target, those after a cursor; of one channel if named."""
    after_channel, _, after_target = after.partition("-")
    begins = (after_channel, int(after_target)) if after_target.isdecimal() else (str(channel or ""), 0)
    rows = connection.execute(
        _PAGE, {"topic": topic, "channel": begins[0], "target": begins[1], "only": channel, "limit": limit}
    ).all()
    found = targets.by_number(connection, [row.target_id for row in rows])
    return [
        Subscription(
            id=row.public_id,
            target=found[row.target_id],
            user_name=row.user_name,
            created_at=row.created_at,
            cursor=f"{row.channel}-{row.target_id}",
        )
        for row in rows
        if row.target_id in found  # deleted in between
    ]


_NAMED = text(f"""
SELECT {_COLUMNS}, coalesce(u.name, '') AS user_name
  FROM subscribers s JOIN targets t ON t.id = s.target_id LEFT JOIN users u ON u.id = t.user_id
 WHERE s.topic_id = :topic AND s.target_id = ANY(:targets) AND s.channel = ANY(:channels)
 ORDER BY s.channel, s.target_id
""")


def of_targets(connection: Connection, project_id: int, topic: int, ids: Sequence[str]) -> Sequence[Subscription]:
    """Subscribers of the topic of that number that are one of the targets of those ids."""
    named = [each.number for each in received.of_ids(connection, project_id, ids)]
    rows = connection.execute(
        _NAMED, {"topic": topic, "targets": named, "channels": [str(channel) for channel in Channel]}
    ).all()
    found = targets.by_number(connection, [row.target_id for row in rows])
    return [
        Subscription(
            id=row.public_id,
            target=found[row.target_id],
            user_name=row.user_name,
            created_at=row.created_at,
            cursor="",
        )
        for row in rows
        if row.target_id in found
    ]


_COUNT = text("""
SELECT asked.topic, asked.channel, found.n
  FROM (SELECT topic, channel FROM unnest(CAST(:topics AS bigint[])) AS t(topic)
         CROSS JOIN unnest(CAST(:channels AS text[])) AS c(channel)) asked
  CROSS JOIN LATERAL (SELECT count(*) AS n FROM (
    SELECT 1 FROM subscribers s WHERE s.topic_id = asked.topic AND s.channel = asked.channel LIMIT :most) each) found
""")


def counts(
    connection: Connection, topics: Sequence[int], *, most: int = COUNTED
) -> Mapping[int, Mapping[Channel, int]]:
    """Number of a topic → its subscribers by channel, counted up to `most`."""
    found: dict[int, dict[Channel, int]] = {topic: {} for topic in topics}
    parameters = {"topics": list(topics), "channels": [str(channel) for channel in Channel], "most": most}
    for row in connection.execute(_COUNT, parameters):
        found[row.topic][Channel(row.channel)] = row.n
    return found
