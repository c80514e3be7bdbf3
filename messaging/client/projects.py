"""Projects and their API keys, as the client offers them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from messaging.client.session import Session
from messaging.errors import ConflictError, NotFoundError
from messaging.store import api_keys, projects
from messaging.store.api_keys import ApiKeyView
from messaging.store.projects import ProjectView


class Projects:
    """Every project of the installation; a client itself belongs to one."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self) -> Sequence[ProjectView]:
        """All of them, oldest first."""
        with self._session.begin() as connection:
            return projects.listed(connection)

    def create(self, project_id: str, *, name: str | None = None) -> ProjectView:
        """A new project; raises `ConflictError` if the id is taken, `InvalidArgumentError` if it can't be one."""
        with self._session.begin() as connection:
            try:
                projects.find(connection, project_id)
            except NotFoundError:
                return projects.get(connection, projects.ensure(connection, project_id, name=name))
        raise ConflictError(f"The project '{project_id}' exists already. Choose another id, or use that project.")


class Keys:
    """The API keys of the project."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self) -> Sequence[ApiKeyView]:
        """All of them, oldest first."""
        with self._session.begin() as connection:
            return api_keys.listed(connection, self._session.project_id)

    def create(
        self, name: str, *, scopes: Sequence[str] = (), expires_at: datetime | None = None
    ) -> tuple[ApiKeyView, str]:
        """The new key and its secret, which is shown this once. No scopes means all of them."""
        with self._session.begin() as connection:
            return api_keys.create(
                connection, self._session.project_id, name=name, scopes=scopes, expires_at=expires_at
            )

    def revoke(self, key_id: str) -> None:
        """Let the key open nothing from now on; raises `NotFoundError`."""
        with self._session.begin() as connection:
            api_keys.delete(connection, self._session.project_id, key_id)
