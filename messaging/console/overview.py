"""The first page: what is going out, what waits, what fails, and how the providers are."""

from __future__ import annotations

from typing import Any

from messaging.client import overview
from messaging.console.answers import Answer, Page
from messaging.console.desk import limit_time
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.wire import Queue

pages = Pages()


@pages.get("/p/{project}")
def show(visit: Visit) -> Answer:
    """The whole page, or (for htmx) the part of it that changes."""
    return Page("overview_live.html" if visit.is_partial else "overview.html", _figures(visit))


def _figures(visit: Visit) -> dict[str, Any]:
    project = visit.project_number
    with visit.begin() as connection:
        limit_time(connection)
        found = overview.read(connection, visit.desk.context.vault, project)
    return {
        "active": found.active,
        "scheduled": found.scheduled,
        "recent": found.recent,
        "due": found.due,
        "reasons": found.failures,
        "providers": found.providers,
        "queues": _queues(visit),
    }


def _queues(visit: Visit) -> list[tuple[str, int]] | None:
    """Tasks in each queue that holds any; None while the broker is away."""
    depths = visit.desk.publisher.depths(list(Queue))
    return None if depths is None else [(queue, waiting) for queue, waiting in depths.items() if waiting]
