"""The audit log, as the client offers it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from messaging.client.session import Session
from messaging.store import audit
from messaging.store.audit import AuditView


class AuditLog:
    """What people did in the project, in the console and on the command line."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(self, *, before: int | None = None, limit: int = 50) -> Sequence[AuditView]:
        """The newest first; `before` is the number of the last one seen."""
        with self._session.begin() as connection:
            return audit.listed(connection, project=self._session.settings.project, before=before, limit=limit)

    def note(self, action: str, subject: str = "", *, operator: str, details: Mapping[str, Any] | None = None) -> None:
        """Write down that `operator` did it. No secrets and no recipients' addresses belong in `details`."""
        with self._session.begin() as connection:
            audit.note(
                connection,
                operator=operator,
                project=self._session.settings.project,
                action=action,
                subject=subject,
                details=details,
            )
