"""What is going on now, in a few figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from messaging.client.session import Session
from messaging.store import messages, overview, providers
from messaging.store.messages import MessageView
from messaging.store.overview import Due, Reason
from messaging.store.providers import ProviderView

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


def look(session: Session) -> Overview:
    """The overview of the session's project."""
    with session.begin() as connection:
        project = session.project_id
        recent = messages.list_views(connection, project, limit=_RECENT)
        return Overview(
            active=overview.active(connection, project),
            scheduled=overview.scheduled(connection, project),
            due=[each for each in overview.due(connection) if each.batches],
            failures=overview.reasons(connection, project, [view.number for view in recent]),
            providers=providers.page(connection, session.vault, project, limit=_PROVIDERS),
        )
