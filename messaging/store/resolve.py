"""Who would get a message, counted and not sent: by channel, provider and what stands in the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from messaging.channel import Channel
from messaging.store import routes
from messaging.store.expand import Audience

# As `store/expand.py` reads an audience, all pages at once.
_COUNT = text("""
WITH named AS (
    SELECT s.target_id AS id FROM subscribers s
     WHERE s.topic_id = ANY(CAST(:topics AS bigint[])) AND s.channel = :channel
    UNION SELECT t.id FROM targets t WHERE t.user_id = ANY(CAST(:users AS bigint[])) AND t.channel = :channel
    UNION SELECT unnest(CAST(:targets AS bigint[]))
)
SELECT coalesce(t.provider_id, 0) AS provider,
       count(*) FILTER (WHERE t.dead_at IS NULL AND t.expired_at IS NULL AND NOT suppressed) AS reachable,
       count(*) FILTER (WHERE t.dead_at IS NOT NULL OR t.expired_at IS NOT NULL) AS expired,
       count(*) FILTER (WHERE t.dead_at IS NULL AND t.expired_at IS NULL AND suppressed) AS suppressed
  FROM named n JOIN targets t ON t.id = n.id AND t.channel = :channel
  CROSS JOIN LATERAL (SELECT EXISTS (
    SELECT 1 FROM suppressions x WHERE x.project_id = t.project_id AND x.channel = t.channel
       AND x.address_hash = t.address_hash AND (x.scope = 'everything' OR :bulk)) AS suppressed) y
 GROUP BY 1
""")


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What an audience comes to on one channel, each target once."""

    channel: Channel
    total: int
    """Deliveries that would be tried."""
    expired: int
    suppressed: int
    unserved: int
    """Targets no enabled provider can serve."""
    providers: Mapping[str, int] = field(default_factory=dict)
    """Provider id → how many it would serve."""


def resolve(connection: Connection, project_id: int, audience: Audience, *, small_audience: int) -> Resolved:
    """Count the audience as it is now."""
    parameters = {
        "channel": audience.channel,
        "topics": list(audience.topic_ids),
        "users": list(audience.user_ids),
        "targets": list(audience.target_ids),
    }
    rows = connection.execute(_COUNT, parameters | {"bulk": True}).all()
    small = sum(row.reachable + row.suppressed + row.expired for row in rows) < small_audience
    if small and not audience.topic_ids:
        # it takes the high lane, where an unsubscription from newsletters does not count
        rows = connection.execute(_COUNT, parameters | {"bulk": False}).all()
    served = {
        route.provider_id: route.effective_id for route in routes.routes(connection, project_id, audience.channel)
    }
    by_number: dict[int, int] = {}
    for row in rows:
        number = served.get(row.provider, 0)
        by_number[number] = by_number.get(number, 0) + row.reachable
    names = _names(connection, [number for number in by_number if number])
    return Resolved(
        channel=audience.channel,
        total=sum(by for number, by in by_number.items() if number),
        expired=sum(row.expired for row in rows),
        suppressed=sum(row.suppressed for row in rows),
        unserved=by_number.get(0, 0),
        providers={names[number]: by for number, by in by_number.items() if number and by},
    )


def _names(connection: Connection, numbers: Sequence[int]) -> dict[int, str]:
    rows = connection.execute(
        text("SELECT id, public_id FROM providers WHERE id = ANY(CAST(:ids AS bigint[]))"), {"ids": list(numbers)}
    )
    return {row.id: row.public_id for row in rows}
