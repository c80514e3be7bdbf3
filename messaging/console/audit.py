"""The audit log: who did what."""

from __future__ import annotations

from messaging.console.answers import Answer, Page
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.store import audit
from messaging.store.operators import OperatorRole

pages = Pages()
_LIMIT = 50


@pages.get("/audit", role=OperatorRole.ADMIN)
def everywhere(visit: Visit) -> Answer:
    """What was done, the newest first."""
    return _listed(visit, None)


@pages.get("/p/{project}/audit")
def of_project(visit: Visit) -> Answer:
    """What was done in a project."""
    _ = visit.project_number  # raises for one that there is not
    return _listed(visit, visit.project)


def _listed(visit: Visit, project: str | None) -> Answer:
    before = visit.query.get("before", "")
    with visit.begin() as connection:
        found = audit.listed(
            connection, project=project, before=int(before) if before.isdecimal() else None, limit=_LIMIT + 1
        )
    return Page("audit.html", {"entries": found[:_LIMIT], "more": len(found) > _LIMIT})
