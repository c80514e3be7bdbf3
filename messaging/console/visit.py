"""A request of somebody who is signed in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property

from sqlalchemy import Connection
from starlette.datastructures import UploadFile

from messaging.client.messaging import Messaging
from messaging.console.desk import Desk
from messaging.store import projects
from messaging.store.operators import OperatorRole, OperatorView


@dataclass(kw_only=True)
class Visit:
    """Who asks for what, with everything a page needs to answer."""

    desk: Desk
    operator: OperatorView
    secret: str
    """Of the session; in no page."""
    csrf: str
    """What each form sends along."""
    notice: str | None
    path: str
    places: Mapping[str, str]
    """What stands in the path, by name."""
    query: Mapping[str, str]
    form: Mapping[str, str]
    """The last value of each field."""
    lists: Mapping[str, list[str]]
    """Every value of each field."""
    files: Mapping[str, UploadFile]
    is_partial: bool = False
    """htmx asks for a part of the page."""

    @property
    def project(self) -> str | None:
        """Public id of the project the page is about."""
        return self.places.get("project")

    @property
    def home(self) -> str:
        """Where the project's pages begin."""
        return f"/console/p/{self.project}"

    @cached_property
    def messaging(self) -> Messaging:
        """The project's client; raises `NotFoundError` where there is no such project."""
        return self.desk.client(self.project or "")

    @cached_property
    def project_number(self) -> int:
        """Number of the project; raises `NotFoundError`."""
        with self.begin() as connection:
            return projects.find(connection, self.project or "")

    def begin(self) -> AbstractContextManager[Connection]:
        """A connection in a transaction that commits at the end of the block."""
        return self.desk.engine.begin()

    def may(self, role: str) -> bool:
        """Whether the operator has that role or a larger one."""
        return self.operator.role.may(OperatorRole(role))

    def text(self, name: str) -> str:
        """A field of the form without blanks around it; empty where it was not sent."""
        return self.form.get(name, "").strip()
