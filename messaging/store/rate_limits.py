"""How often something was asked for: counters with a time at which they start again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class Hits:
    """How many there were since the counter started, this one included, and when it starts again."""

    count: int
    resets_at: datetime
    seconds_left: int
    """Until then."""


def count(connection: Connection, key: str, *, window_s: int) -> Hits:
    """Count one more under `key`."""
    row = connection.execute(
        text(
            "INSERT INTO rate_limits AS r (key, hits, resets_at)"
            " VALUES (:key, 1, now() + make_interval(secs => :window))"
            " ON CONFLICT (key) DO UPDATE SET"
            "   hits = CASE WHEN r.resets_at <= now() THEN 1 ELSE least(r.hits, 1000000) + 1 END,"
            "   resets_at = CASE WHEN r.resets_at <= now() THEN excluded.resets_at ELSE r.resets_at END"
            " RETURNING hits, resets_at, CAST(ceil(extract(epoch FROM resets_at - now())) AS integer) AS seconds_left"
        ),
        {"key": key, "window": window_s},
    ).one()
    return Hits(row.hits, row.resets_at, row.seconds_left)


def forget_expired(connection: Connection) -> int:
    """Delete the counters whose time is over; returns how many."""
    return connection.execute(text("DELETE FROM rate_limits WHERE resets_at < now()")).rowcount
