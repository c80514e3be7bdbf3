"""Projects: where one begins, and new ones."""

from __future__ import annotations

from messaging.console.answers import Answer, Done, Page
from messaging.console.pages import Pages
from messaging.console.visit import Visit
from messaging.store import projects
from messaging.store.operators import OperatorRole

pages = Pages()


@pages.get("")
def begin(visit: Visit) -> Answer:
    """The first project's overview, or the list of projects where there is none or several."""
    ids = visit.desk.project_ids()
    return Done(f"/console/p/{ids[0]}") if len(ids) == 1 else Done("/console/projects")


@pages.get("/projects")
def listed(visit: Visit) -> Answer:
    """Every project."""
    with visit.begin() as connection:
        return Page("projects.html", {"all": projects.listed(connection)})


@pages.post("/projects", action="project.create", role=OperatorRole.ADMIN)
def create(visit: Visit) -> Answer:
    """A new project."""
    public_id = visit.text("id")
    with visit.begin() as connection:
        projects.ensure(connection, public_id, name=visit.text("name") or public_id)
    return Done(f"/console/p/{public_id}", f"The project {public_id} is ready.", subject=public_id)
