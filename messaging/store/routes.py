"""Which provider serves which targets."""

from __future__ import annotations

from sqlalchemy import Connection, text

from messaging.catalog import KINDS
from messaging.channel import Channel
from messaging.store.expand import Route

_PROVIDERS = text("""
SELECT id, kind, enabled FROM providers
 WHERE project_id = :project AND channel = :channel ORDER BY stopped_at IS NOT NULL, priority, id
""")


def routes(connection: Connection, project_id: int, channel: Channel, *, task_size: int | None = None) -> list[Route]:
    """A route per provider of the channel, and one (number 0) for targets that name none.

    A target's own provider serves it while that is enabled. Otherwise another takes over only if it can
    know the address: any for email and SMS, one of the same kind for push, where a token means nothing
    elsewhere. `task_size` replaces the kinds' own batch sizes. The list is empty when none is enabled.
    """
    rows = connection.execute(_PROVIDERS, {"project": project_id, "channel": channel}).all()
    enabled = [row for row in rows if row.enabled]
    if not enabled:
        return []
    found = [_route(0, enabled[0].id, enabled[0].kind, task_size)]
    for row in rows:
        others = [r for r in enabled if channel is not Channel.PUSH or r.kind == row.kind]
        server = row if row.enabled else next(iter(others), None)
        if server is not None:
            found.append(_route(row.id, server.id, server.kind, task_size))
    return found


def _route(from_id: int, to_id: int, kind: str, task_size: int | None) -> Route:
    known = KINDS.get(kind)
    size = task_size or (known.task_size if known else 100)
    return Route(provider_id=from_id, effective_id=to_id, kind=kind, task_size=size)
