"""Projects: the tenants every row belongs to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from messaging.errors import InvalidArgumentError, NotFoundError
from messaging.ids import check_id
from messaging.wire import Queue, intake_queue_of_project


@dataclass(frozen=True, kw_only=True)
class ProjectView:
    """A project as the outside sees it."""

    id: str
    name: str
    created_at: datetime


def ensure(connection: Connection, public_id: str, *, name: str | None = None) -> int:
    """The number of the project, which is created when it does not exist."""
    check_id("project", public_id)
    number: int | None = connection.execute(
        text("SELECT id FROM projects WHERE public_id = :id"), {"id": public_id}
    ).scalar()
    if number is not None:
        return number
    if intake_queue_of_project(public_id) in set(Queue):
        raise InvalidArgumentError("project", f"'{public_id}' is the name of a queue of ours; choose another id")
    # DO UPDATE, not DO NOTHING: two processes that start together both get the number
    created: int = connection.execute(
        text(
            "INSERT INTO projects (public_id, name) VALUES (:id, :name)"
            " ON CONFLICT (public_id) DO UPDATE SET name = projects.name RETURNING id"
        ),
        {"id": public_id, "name": name or public_id},
    ).scalar_one()
    return created


def find(connection: Connection, public_id: str) -> int:
    """The number of the project; raises `NotFoundError`."""
    number: int | None = connection.execute(
        text("SELECT id FROM projects WHERE public_id = :id"), {"id": public_id}
    ).scalar()
    if number is None:
        raise NotFoundError("project", public_id)
    return number


def get(connection: Connection, project_id: int) -> ProjectView:
    """The project of that number; raises `NotFoundError`."""
    row = connection.execute(
        text("SELECT public_id AS id, name, created_at FROM projects WHERE id = :id"), {"id": project_id}
    ).one_or_none()
    if row is None:
        raise NotFoundError("project", str(project_id))
    return ProjectView(id=row.id, name=row.name, created_at=row.created_at)


def listed(connection: Connection) -> list[ProjectView]:
    """Every project, oldest first."""
    rows = connection.execute(text("SELECT public_id AS id, name, created_at FROM projects ORDER BY projects.id"))
    return [ProjectView(id=row.id, name=row.name, created_at=row.created_at) for row in rows]
