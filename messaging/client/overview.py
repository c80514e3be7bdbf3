"""What is going on now, in a few figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from messaging.client.session import Session
from messaging.store import messages, overview, providers
from messaging.store.messages import MessageView
from messaging.store.overview import Due, Reason
from messaging.store.providers import ProviderView
from messaging.vault import Vault

_RECENT = 10
_PROVIDERS = 1000


@dataclass(frozen=True, kw_only=True)
class Overview:
    """What goes out, what waits, what failed, and over whom."""

    active: Sequence[MessageView]
    """Going out or paused, the newest first."""
    scheduled: Sequence[MessageView]
    """Whose time comes, the next first."""
    due: Sequence[Due]
    """What should be with a worker, by channel and lane; of all projects, which share the workers."""
    failures: Sequence[Reason]
    """Why deliveries of the ten newest messages failed, the commonest first."""
    providers: Sequence[ProviderView]
    recent: Sequence[MessageView]
    """The ten newest messages, the newest first."""


def look(session: Session) -> Overview:
    """The overview of the session's project."""
    with session.begin() as connection:
        return read(connection, session.vault, session.project_id)


def read(connection: Connection, vault: Vault, project: int) -> Overview:
    """The overview of the project of that number, in the caller's transaction."""
    recent = messages.list_views(connection, project, limit=_RECENT)
    return Overview(
        active=overview.active(connection, project),
        scheduled=overview.scheduled(connection, project),
        due=[each for each in overview.due(connection) if each.batches],
        failures=overview.reasons(connection, project, [view.number for view in recent]),
        providers=providers.page(connection, vault, project, limit=_PROVIDERS),
        recent=recent,
    )
