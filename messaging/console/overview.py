"""The first page: what is going out, what waits, what fails, and how the providers are."""

from __future__ import annotations

from typing import Any

from messaging.console.answers import Answer, Page
from messaging.console.desk import limit_time
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.store import messages, overview
from messaging.wire import Queue

pages = Pages()
_RECENT = 10


@pages.get("/p/{project}")
def show(visit: Visit) -> Answer:
    """The whole page, or (for htmx) the part of it that changes."""
    return Page("overview_live.html" if visit.is_partial else "overview.html", _figures(visit))


def _figures(visit: Visit) -> dict[str, Any]:
    project = visit.project_number
    with visit.begin() as connection:
        limit_time(connection)
        recent = messages.list_views(connection, project, limit=_RECENT)
        found = {
            "active": overview.active(connection, project),
            "scheduled": overview.scheduled(connection, project),
            "recent": recent,
            "due": [each for each in overview.due(connection) if each.batches],
            "reasons": overview.reasons(connection, project, [view.number for view in recent]),
        }
    return found | {"providers": visit.messaging.providers.list(limit=100), "queues": _queues(visit)}


def _queues(visit: Visit) -> list[tuple[str, int]] | None:
    """Tasks in each queue that holds any; None while the broker is away."""
    found = []
    for queue in Queue:
        waiting = visit.desk.publisher.waiting([queue])
        if waiting is None:
            return None
        if waiting:
            found.append((str(queue), waiting))
    return found
