"""What every page works with: the database, the client of each project, and the way into threads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from sqlalchemy import Connection, Engine, text

from messaging.client.messaging import Messaging
from messaging.client.session import Session
from messaging.http.context import Context
from messaging.publish import Publisher
from messaging.store import projects
from messaging.store.batches import Hint

STATEMENT_LIMIT_MS = 5_000
"""A page that asks the database for longer is given up, so that nobody clicks the system to a halt."""


class Desk:
    """Opened when first needed, as the process's own connections are."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.settings = context.settings
        self._clients: dict[str, Messaging] = {}

    @property
    def engine(self) -> Engine:
        """The database."""
        return self.context.engine

    @cached_property
    def publisher(self) -> Publisher:
        """To look at queues."""
        return Publisher(self.settings)

    def client(self, project: str) -> Messaging:
        """The client of the project with that public id; raises `NotFoundError` where there is none."""
        found = self._clients.get(project)
        if found is None:
            session = Session(
                self.settings.model_copy(update={"project": project}),
                engine=self.engine,
                vault=self.context.vault,
                publish=self.leave,
            )
            _ = session.project_id  # raises
            found = self._clients[project] = Messaging(session=session)
        return found

    def leave(self, hints: Sequence[Hint]) -> None:
        """Publish the hints of what was committed."""
        self.context.outbox.leave(hints)

    def project_ids(self) -> list[str]:
        """Every project, oldest first."""
        with self.engine.begin() as connection:
            return [view.id for view in projects.listed(connection)]


def limit_time(connection: Connection) -> None:
    """Give this transaction's statements a few seconds."""
    connection.execute(text(f"SET LOCAL statement_timeout = {STATEMENT_LIMIT_MS}"))
