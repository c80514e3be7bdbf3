"""Topics, users and targets to choose from, found by what somebody would type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from messaging.channel import Channel
from messaging.store import received


@dataclass(frozen=True, slots=True)
class Choice:
    """One thing that can be chosen."""

    id: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What was found."""

    topics: Sequence[Choice] = ()
    users: Sequence[Choice] = ()
    targets: Sequence[Choice] = ()

    @property
    def any(self) -> bool:
        """Whether anything was found."""
        return bool(self.topics or self.users or self.targets)


_TOPICS = text("""
SELECT public_id, name FROM topics WHERE project_id = :project
   AND (:said = '' OR strpos(lower(concat_ws(' ', public_id, name)), lower(:said)) > 0) ORDER BY id DESC LIMIT :limit
""")
_USERS = text("""
SELECT public_id, name FROM users WHERE project_id = (SELECT CAST(:project AS bigint))
   AND public_id = ANY(CAST(:ids AS text[])) ORDER BY id LIMIT :limit
""")


def search(connection: Connection, project_id: int, channel: Channel, said: str, *, limit: int = 20) -> Choices:
    """Topics with `said` in name or id; users and targets by id, or by an address in full (they may be millions)."""
    rows = connection.execute(_TOPICS, {"project": project_id, "said": said, "limit": limit})
    found = [Choice(row.public_id, row.name) for row in rows]
    if not said:
        return Choices(topics=found)
    held = received.addresses(connection, project_id, said)
    ids = [said, *(each.user_id for each in held if each.user_id is not None)]
    users = connection.execute(_USERS, {"project": project_id, "ids": ids, "limit": limit})
    return Choices(
        topics=found,
        users=[Choice(row.public_id, row.name) for row in users],
        targets=[Choice(each.id, each.identifier) for each in held if each.channel is channel][:limit],
    )


def topics(connection: Connection, project_id: int, ids: Sequence[str]) -> list[Choice]:
    """The topics of these ids with their names; one that is not there keeps its id for a name."""
    rows = connection.execute(
        text(
            "SELECT public_id, name FROM topics WHERE project_id = :project AND public_id = ANY(CAST(:ids AS text[]))"
        ),
        {"project": project_id, "ids": list(ids)},
    )
    names = {row.public_id: row.name for row in rows}
    return [Choice(each, names.get(each, each)) for each in ids]


def served_channels(connection: Connection, project_id: int) -> frozenset[Channel]:
    """The channels that an enabled provider serves."""
    rows = connection.execute(
        text("SELECT DISTINCT channel FROM providers WHERE project_id = :project AND enabled"), {"project": project_id}
    )
    return frozenset(Channel(channel) for channel in rows.scalars())
