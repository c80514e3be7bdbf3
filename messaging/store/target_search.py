"""Lists of people and addresses that stay fast at a million: by id and whole address through an index, in its order."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, text

from messaging.channel import Channel
from messaging.store import received, targets, users
from messaging.store.addresses import PROJECT
from messaging.store.targets import TargetView
from messaging.store.users import UserView

NAMES_SEARCHED = 50_000
"""No index holds names: they are looked for among so many of the newest people."""
_LAST = 2**62


# In the order of its index where a channel is named: to look for the last of a rare one would read all of the others.
_OF_CHANNEL = text(f"""
SELECT t.id FROM targets t WHERE t.project_id = {PROJECT} AND t.channel = :channel
   AND (coalesce(t.provider_id, 0), t.identifier) > (:provider, :identifier)
 ORDER BY coalesce(t.provider_id, 0), t.identifier LIMIT :limit
""")
_NEWEST = text("""
SELECT t.id FROM targets t WHERE t.project_id = :project AND t.id < :before ORDER BY t.id DESC LIMIT :limit
""")
_PLACE = text(f"""
SELECT id, coalesce(provider_id, 0) AS provider, identifier FROM targets
 WHERE project_id = {PROJECT} AND public_id = :id
""")


def list_targets(
    connection: Connection, project_id: int, *, channel: Channel | None = None, after: str = "", limit: int = 50
) -> Sequence[TargetView]:
    """The newest targets first; those of a channel by address. Those after the target of the id `after`."""
    place = connection.execute(_PLACE, {"project": project_id, "id": after}).one_or_none() if after else None
    if channel is None:
        asked = _NEWEST, {"before": place.id if place else _LAST}
    else:
        begins = (place.provider, place.identifier) if place else (-1, "")
        asked = _OF_CHANNEL, {"channel": channel, "provider": begins[0], "identifier": begins[1]}
    statement, parameters = asked
    numbers = connection.execute(statement, parameters | {"project": project_id, "limit": limit}).scalars().all()
    found = targets.by_number(connection, numbers)
    return [found[number] for number in numbers if number in found]


def targets_of_ids(connection: Connection, project_id: int, ids: Sequence[str]) -> Sequence[TargetView]:
    """The targets of those ids that there are, oldest first."""
    numbers = [each.number for each in received.of_ids(connection, project_id, ids)]
    found = targets.by_number(connection, numbers)
    return [found[number] for number in numbers if number in found]


_OWNERS = text("""
SELECT DISTINCT u.public_id FROM targets t JOIN users u ON u.id = t.user_id WHERE t.id = ANY(:targets) LIMIT 100
""")
_BY_NAME = text("""
SELECT public_id FROM (SELECT id, public_id, name FROM users WHERE project_id = :project ORDER BY id DESC LIMIT :most) u
 WHERE strpos(lower(u.name), lower(:wanted)) > 0 ORDER BY u.id DESC LIMIT :limit
""")
_NEWEST_USERS = text("""
SELECT public_id FROM users WHERE project_id = :project
   AND id < coalesce((SELECT id FROM users WHERE project_id = :project AND public_id = :after), 9223372036854775807)
 ORDER BY id DESC LIMIT :limit
""")


def find_users(connection: Connection, project_id: int, wanted: str, *, limit: int = 50) -> Sequence[str]:
    """Ids of the users with that id or whole address, then of those of the newest whose name contains it."""
    if not wanted:
        return []
    held = [each.number for each in received.addresses(connection, project_id, wanted)]
    owners = connection.execute(_OWNERS, {"targets": held}).scalars().all()
    by_id = users.resolve(connection, project_id, [wanted])
    parameters = {"project": project_id, "wanted": wanted, "limit": limit, "most": NAMES_SEARCHED}
    by_name = connection.execute(_BY_NAME, parameters).scalars().all()
    return list(dict.fromkeys([*by_id, *owners, *by_name]))[:limit]


def list_users(connection: Connection, project_id: int, *, after: str = "", limit: int = 50) -> Sequence[UserView]:
    """The newest users first, those after the user of the id `after`."""
    parameters = {"project": project_id, "after": after, "limit": limit}
    return users_of_ids(connection, project_id, connection.execute(_NEWEST_USERS, parameters).scalars().all())


def users_of_ids(connection: Connection, project_id: int, ids: Sequence[str]) -> Sequence[UserView]:
    """The users of those ids that there are, in that order."""
    rows = connection.execute(
        text(
            "SELECT public_id, name, email, phone, created_at, updated_at FROM users"
            " WHERE project_id = :project AND public_id = ANY(:ids)"
        ),
        {"project": project_id, "ids": list(ids)},
    )
    found = {
        row.public_id: UserView(
            id=row.public_id,
            name=row.name,
            email=row.email,
            phone=row.phone,
            created_at=row.created_at,
            updated_at=row.updated_at,
        )
        for row in rows
    }
    return [found[each] for each in ids if each in found]
