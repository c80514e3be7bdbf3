"""Which provider serves which targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, text

from messaging.catalog import KINDS
from messaging.channel import Channel
from messaging.store.expand import SHARES, Route

_PROVIDERS = text("""
SELECT id, kind, enabled, stopped_at IS NOT NULL AS is_down, priority, weight FROM providers
 WHERE project_id = :project AND channel = :channel ORDER BY stopped_at IS NOT NULL, priority, id
""")


def routes(
    connection: Connection,
    project_id: int,
    channel: Channel,
    *,
    task_size: int | None = None,
    only: int | None = None,
) -> list[Route]:
    """A route per provider of the channel, and one or more (number 0) for targets that name none.

    A target's own provider serves it while that is enabled. Otherwise another takes over only if it can
    know the address: any for email and SMS, one of the same kind for push, where a token means nothing
    elsewhere. Targets that name none are shared out by weight among the first working providers of equal
    priority; without weights the first takes them all, as it does for push, where an app has one provider
    a kind. `only` is the one provider that may serve anybody. `task_size` replaces the kinds' own batch
    sizes. The list is empty when none is enabled.
    """
    rows = connection.execute(_PROVIDERS, {"project": project_id, "channel": channel}).all()
    enabled = [row for row in rows if row.enabled]
    if only is not None:
        enabled = [row for row in enabled if row.id == only]
    if not enabled:
        return []
    if only is not None:
        return [_route(each, row.id, row.kind, task_size) for row in enabled for each in (0, *(r.id for r in rows))]
    found = [_route(0, row.id, row.kind, task_size, low=low, high=high) for row, low, high in _shares(enabled, channel)]
    for row in rows:
        others = [r for r in enabled if channel is not Channel.PUSH or r.kind == row.kind]
        server = row if row.enabled else next(iter(others), None)
        if server is not None:
            found.append(_route(row.id, server.id, server.kind, task_size))
    return found


def _shares(enabled: Sequence[Row[Any]], channel: Channel) -> list[tuple[Row[Any], int, int]]:
    """Who takes targets without a provider: (provider, from, below) in parts of `SHARES`."""
    first = enabled[0]
    equals = [row for row in enabled if (row.is_down, row.priority) == (first.is_down, first.priority) and row.weight]
    if channel is Channel.PUSH or not equals:
        return [(first, 0, SHARES)]
    whole = sum(row.weight for row in equals)
    edges = [round(sum(row.weight for row in equals[:count]) * SHARES / whole) for count in range(len(equals) + 1)]
    return list(zip(equals, edges, edges[1:], strict=False))


def _route(from_id: int, to_id: int, kind: str, task_size: int | None, *, low: int = 0, high: int = SHARES) -> Route:
    known = KINDS.get(kind)
    size = task_size or (known.task_size if known else 100)
    return Route(provider_id=from_id, effective_id=to_id, kind=kind, task_size=size, low=low, high=high)
