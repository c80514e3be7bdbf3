"""The quarantine, as the client offers it."""

from __future__ import annotations

from collections.abc import Sequence

from messaging.client.session import Session
from messaging.store import quarantine
from messaging.store.lists import Wanted
from messaging.store.quarantine import Entry


class Quarantine:
    """What was put aside because it ended workers."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, *, limit: int = 25, after: str | None = None) -> Sequence[Entry]:
        """Entries, newest first; those after the entry `after`."""
        with self._session.begin() as connection:
            wanted = Wanted(limit=limit, after=after, total=False)
            return quarantine.listed(connection, self._session.project_id, wanted).entries

    def replay(self, entry_id: str) -> int:
        """Try again what was put aside; how many deliveries are queued again (0 for a fan-out or a task).

        Raises `NotFoundError`, `StateConflictError` (its message was cancelled), and `ConflictError` where it may have
        been sent and its message says `hold`.
        """
        settings = self._session.settings
        with self._session.begin() as connection:
            replayed = quarantine.replay(
                connection, self._session.project_id, entry_id, expires_in_s=settings.expires_after_s
            )
        self._session.publish(replayed.hints)
        return replayed.deliveries
