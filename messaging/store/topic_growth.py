"""How a topic grew: its subscribers by the day they joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import Connection, text

from messaging.store import topics


@dataclass(frozen=True, kw_only=True)
class Day:
    """One day (UTC) of a topic. Those who left since are not counted: nobody keeps them."""

    day: date
    joined: int
    subscribers: int
    """Of today's subscribers, those who were there at the end of the day."""


_BY_DAY = text("""
SELECT greatest((created_at AT TIME ZONE 'UTC')::date, CAST(:since AS date)) AS day,
       (created_at AT TIME ZONE 'UTC')::date < CAST(:since AS date) AS before, count(*) AS joined
  FROM subscribers WHERE topic_id = :topic GROUP BY 1, 2
""")


def growth(connection: Connection, project_id: int, topic_id: str, *, days: int = 30) -> Sequence[Day]:
    """The last `days` days, today included, oldest first; raises `NotFoundError`."""
    number = topics.find(connection, project_id, topic_id)
    today: date = connection.execute(text("SELECT (now() AT TIME ZONE 'UTC')::date")).scalar_one()
    since = today - timedelta(days=days - 1)
    joined: dict[date, int] = {}
    total = 0
    for row in connection.execute(_BY_DAY, {"topic": number, "since": since}):
        if row.before:
            total = row.joined
        else:
            joined[row.day] = row.joined
    found = []
    for offset in range(days):
        day = since + timedelta(days=offset)
        total += joined.get(day, 0)
        found.append(Day(day=day, joined=joined.get(day, 0), subscribers=total))
    return found
