"""Targets: one address of one user (or of nobody) on one channel; one address, one target."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from messaging.address import normalise
from messaging.channel import Channel
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError
from messaging.ids import check_id, new_id
from messaging.vault import Vault

_VIEW = (
    "SELECT t.id AS number, t.public_id, t.user_id AS owner, u.public_id AS user_id, p.public_id AS provider_id,"
    " t.channel, t.identifier, t.name, t.dead_at, t.expired_at, t.registered_at, t.created_at, t.updated_at"
    " FROM targets t LEFT JOIN users u ON u.id = t.user_id LEFT JOIN providers p ON p.id = t.provider_id"
)
# Not a constant to the planner: for a project that the statistics have not seen yet it would expect one target, take
# whichever index begins with the project and read all of it.
_PROJECT = "(SELECT CAST(:project AS bigint))"
_ADDRESS = "project_id, channel, coalesce(provider_id, 0), identifier"
_COLUMN = {Channel.EMAIL: "email", Channel.SMS: "phone"}
"""Where a user's own address stands."""


@dataclass(frozen=True, slots=True)
class TargetRef:
    """What the audience needs to know of a target."""

    id: int
    channel: Channel


@dataclass(frozen=True, slots=True)
class Owner:
    """The target that holds an address, and the number of its user (None: nobody's)."""

    target: int
    user: int | None


@dataclass(frozen=True, kw_only=True)
class TargetView:
    """A target as the outside sees it."""

    id: str
    user_id: str | None
    provider_id: str | None
    channel: Channel
    identifier: str
    name: str
    expired: bool
    """True once a provider has called the address dead: nothing is sent to it until it registers again."""
    registered_at: datetime
    created_at: datetime
    updated_at: datetime


def resolve(connection: Connection, project_id: int, public_ids: Collection[str]) -> dict[str, TargetRef]:
    """Public id → number and channel of those targets that exist; the rest is missing from the answer."""
    if not public_ids:
        return {}
    rows = connection.execute(
        text(f"SELECT public_id, id, channel FROM targets WHERE project_id = {_PROJECT} AND public_id = ANY(:ids)"),
        {"project": project_id, "ids": list(public_ids)},
    )
    return {row.public_id: TargetRef(row.id, Channel(row.channel)) for row in rows}


def find(connection: Connection, project_id: int, public_id: str) -> int:
    """The number of a target; raises `NotFoundError`."""
    found = resolve(connection, project_id, [public_id]).get(public_id)
    if found is None:
        raise NotFoundError("target", public_id)
    return found.id


def owner_of(
    connection: Connection, project_id: int, channel: Channel, identifier: str, *, provider: int = 0
) -> Owner | None:
    """Who holds the (normalised) address with the provider of that number, 0 for none; None if no target does."""
    row = connection.execute(
        text(
            f"SELECT id, user_id FROM targets WHERE project_id = {_PROJECT} AND channel = :channel"
            " AND coalesce(provider_id, 0) = :provider AND identifier = :identifier"
        ),
        {"project": project_id, "channel": channel, "provider": provider, "identifier": identifier},
    ).one_or_none()
    return None if row is None else Owner(row.id, row.user_id)


def users_of(connection: Connection, project_id: int, channel: Channel, identifier: str) -> set[int]:
    """Numbers of the users that hold the (normalised) address, with any provider or none."""
    rows = connection.execute(
        text(
            f"SELECT user_id FROM targets WHERE project_id = {_PROJECT} AND channel = :channel"
            " AND coalesce(provider_id, 0) = ANY(:providers) AND identifier = :identifier AND user_id IS NOT NULL"
        ),
        {
            "project": project_id,
            "channel": channel,
            "providers": [0, *_providers(connection, project_id, channel)],
            "identifier": identifier,
        },
    )
    return {row.user_id for row in rows}


def _providers(connection: Connection, project_id: int, channel: Channel) -> list[int]:
    rows = connection.execute(
        text("SELECT id FROM providers WHERE project_id = :project AND channel = :channel"),
        {"project": project_id, "channel": channel},
    )
    return [row.id for row in rows]


def ensure_addresses(
    connection: Connection, vault: Vault, project_id: int, channel: Channel, addresses: Iterable[str]
) -> list[int]:
    """Numbers of the targets of raw addresses, in the order given and each once; missing ones are made, nobody's.

    Raises `InvalidArgumentError` for a malformed address.
    """
    wanted = list(dict.fromkeys(normalise(channel, address, argument="addresses") for address in addresses))
    if not wanted:
        return []
    parameters = {"project": project_id, "channel": channel, "wanted": wanted}
    found = _by_address(connection, parameters)
    missing = sorted(set(wanted) - found.keys())  # sorted: two producers lock the index in one order
    if missing:
        connection.execute(
            text(
                "INSERT INTO targets (project_id, public_id, channel, identifier, address_hash)"
                " SELECT :project, m.public_id, :channel, m.identifier, m.hash"
                " FROM unnest(CAST(:ids AS text[]), CAST(:identifiers AS text[]), CAST(:hashes AS bytea[]))"
                "   AS m(public_id, identifier, hash)"
                f" ON CONFLICT ({_ADDRESS}) DO NOTHING"
            ),
            {
                "project": project_id,
                "channel": channel,
                "ids": [new_id() for _ in missing],
                "identifiers": missing,
                "hashes": [vault.address_hash(channel, identifier) for identifier in missing],
            },
        )
        found = _by_address(connection, parameters)
    return [found[identifier] for identifier in wanted]


def _by_address(connection: Connection, parameters: dict[str, Any]) -> dict[str, int]:
    # an address may exist without a provider and with one: the one without is the plain address
    rows = connection.execute(
        text(
            f"SELECT identifier, id FROM targets WHERE project_id = {_PROJECT} AND channel = :channel"
            " AND coalesce(provider_id, 0) = 0 AND identifier = ANY(:wanted)"
        ),
        parameters,
    )
    return {row.identifier: row.id for row in rows}


def register(
    connection: Connection,
    vault: Vault,
    project_id: int,
    *,
    user: int | None,
    channel: Channel,
    identifier: str,
    provider: int | None = None,
    name: str | None = None,
    public_id: str | None = None,
    session: int | None = None,
) -> int:
    """The number of the target of a (normalised) address after it registered for the user of that number.

    A device that signs in to another account takes its token along: an existing target moves to the
    new user, is alive again, and leaves the topics the previous user had put it in. It ends with the session
    of that number, where one is given; one that it ended with before is kept for the same user only.
    """
    existing = owner_of(connection, project_id, channel, identifier, provider=provider or 0)
    if existing is not None and existing.user is not None and existing.user != user:
        connection.execute(text("DELETE FROM subscribers WHERE target_id = :target"), {"target": existing.target})
        _take_from_user(connection, existing.user, channel, identifier)
    row = connection.execute(
        text(
            "INSERT INTO targets"
            " (project_id, user_id, provider_id, session_id, public_id, channel, identifier, name, address_hash)"
            " VALUES (:project, :user, :provider, :session, :public_id, :channel, :identifier, coalesce(:name, ''),"
            "   :hash)"
            f" ON CONFLICT ({_ADDRESS}) DO UPDATE SET user_id = excluded.user_id,"
            "   session_id = coalesce(excluded.session_id,"
            "     CASE WHEN targets.user_id IS NOT DISTINCT FROM excluded.user_id THEN targets.session_id END),"
            "   name = coalesce(CAST(:name AS text), targets.name),"
            "   public_id = coalesce(CAST(:wanted_id AS text), targets.public_id),"
            "   registered_at = now(), dead_at = NULL, dead_provider_id = NULL, expired_at = NULL, updated_at = now()"
            " RETURNING id"
        ),
        {
            "project": project_id,
            "user": user,
            "provider": provider,
            "session": session,
            "public_id": public_id or new_id(),
            "wanted_id": public_id,
            "channel": channel,
            "identifier": identifier,
            "name": name,
            "hash": vault.address_hash(channel, identifier),
        },
    ).one()
    number: int = row.id
    return number


def _take_from_others(connection: Connection, project_id: int, token: str, *, user: int, provider: int | None) -> None:
    """Delete other users' targets of a device under another provider, or none; `register` moves the one it finds."""
    if not users_of(connection, project_id, Channel.PUSH, token) - {user}:
        return
    connection.execute(
        text(
            f"DELETE FROM targets WHERE project_id = {_PROJECT} AND channel = :channel AND identifier = :token"
            " AND coalesce(provider_id, 0) = ANY(:providers) AND coalesce(provider_id, 0) <> :provider"
            " AND user_id <> :user"
        ),
        {
            "project": project_id,
            "channel": Channel.PUSH,
            "token": token,
            "providers": [0, *_providers(connection, project_id, Channel.PUSH)],
            "provider": provider or 0,
            "user": user,
        },
    )


def _take_from_user(connection: Connection, user: int, channel: Channel, identifier: str) -> None:
    column = _COLUMN.get(channel)
    if column is not None:
        connection.execute(
            text(f"UPDATE users SET {column} = NULL, updated_at = now() WHERE id = :user AND {column} = :identifier"),
            {"user": user, "identifier": identifier},
        )


def create(
    connection: Connection,
    vault: Vault,
    project_id: int,
    *,
    channel: Channel,
    identifier: str,
    user_id: str | None = None,
    provider_id: str | None = None,
    name: str | None = None,
    target_id: str | None = None,
    session: int | None = None,
) -> TargetView:
    """The target of an address; an address that was registered before moves to this user and takes this id.

    It ends with the session of that number, where one is given.

    Raises `InvalidArgumentError` (address, or a provider of another channel), `NotFoundError` (user or
    provider), `ConflictError` (the id is another address's).
    """
    if target_id is not None:
        check_id("target_id", target_id)
    user = _user(connection, project_id, user_id)
    provider, kind = _provider(connection, project_id, provider_id, channel)
    normal = normalise(channel, identifier, provider_kind=kind)
    if target_id is not None:
        _refuse_taken_id(connection, project_id, target_id, channel=channel, identifier=normal, provider=provider)
    if channel is Channel.PUSH and user is not None:
        _take_from_others(connection, project_id, normal, user=user, provider=provider)
    number = register(
        connection,
        vault,
        project_id,
        user=user,
        channel=channel,
        identifier=normal,
        provider=provider,
        name=name,
        public_id=target_id,
        session=session,
    )
    return _one(connection, "t.id = :number", {"number": number}, target_id or str(number))


def get(connection: Connection, project_id: int, public_id: str) -> TargetView:
    """The target; raises `NotFoundError`."""
    return _one(
        connection,
        f"t.project_id = {_PROJECT} AND t.public_id = :id",
        {"project": project_id, "id": public_id},
        public_id,
    )


def by_number(connection: Connection, numbers: Collection[int]) -> dict[int, TargetView]:
    """Number → target, of those that exist."""
    rows = connection.execute(text(f"{_VIEW} WHERE t.id = ANY(:numbers)"), {"numbers": list(numbers)})
    return {row.number: _view(row) for row in rows}


def of_users(connection: Connection, users: Collection[int]) -> dict[int, list[TargetView]]:
    """Number of a user → their targets, oldest first; users without targets are missing from the answer."""
    if not users:
        return {}
    found: dict[int, list[TargetView]] = {}
    rows = connection.execute(text(f"{_VIEW} WHERE t.user_id = ANY(:users) ORDER BY t.id"), {"users": list(users)})
    for row in rows:
        found.setdefault(row.owner, []).append(_view(row))
    return found


def page(
    connection: Connection,
    project_id: int,
    *,
    user_id: str | None = None,
    channel: Channel | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[TargetView]:
    """Targets in order of creation, those after the target `after`; of one user or one channel if named."""
    rows = connection.execute(
        text(
            f"{_VIEW} WHERE t.project_id = :project AND t.id > :after"
            " AND (CAST(:user AS bigint) IS NULL OR t.user_id = :user)"
            " AND (CAST(:channel AS text) IS NULL OR t.channel = :channel)"
            " ORDER BY t.id LIMIT :limit"
        ),
        {
            "project": project_id,
            "after": find(connection, project_id, after) if after else 0,
            "user": _user(connection, project_id, user_id),
            "channel": channel,
            "limit": limit,
        },
    )
    return [_view(row) for row in rows]


def update(
    connection: Connection,
    vault: Vault,
    project_id: int,
    public_id: str,
    *,
    identifier: str | None = None,
    provider_id: str | None = None,
    name: str | None = None,
    session: int | None = None,
    takes: bool = False,
) -> TargetView:
    """The target after the change; a new identifier brings a dead target back to life.

    Raises `ConflictError` if another target has that address, unless this one `takes` it: then the other is
    deleted. With a `session` given it ends with that session from now on.
    """
    before = get(connection, project_id, public_id)
    provider, kind = _provider(
        connection, project_id, provider_id if provider_id is not None else before.provider_id, before.channel
    )
    normal = before.identifier
    if identifier is not None or provider_id is not None:
        normal = normalise(before.channel, identifier or before.identifier, provider_kind=kind)
        taken = owner_of(connection, project_id, before.channel, normal, provider=provider or 0)
        if taken is not None and taken.target != find(connection, project_id, public_id):
            if not takes:
                raise ConflictError(
                    "Another target of this project has that address. Delete that one, or register the address again."
                )
            connection.execute(text("DELETE FROM targets WHERE id = :target"), {"target": taken.target})
    if normal != before.identifier and before.provider_id is None:
        _follow(connection, project_id, before, normal)
    connection.execute(
        text(
            "UPDATE targets SET provider_id = :provider, identifier = :identifier, address_hash = :hash,"
            " name = coalesce(CAST(:name AS text), name), updated_at = now(),"
            " session_id = coalesce(CAST(:session AS bigint), session_id),"
            " registered_at = CASE WHEN :again THEN now() ELSE registered_at END,"
            " dead_at = CASE WHEN :again THEN NULL ELSE dead_at END,"
            " dead_provider_id = CASE WHEN :again THEN NULL ELSE dead_provider_id END,"
            " expired_at = CASE WHEN :again THEN NULL ELSE expired_at END"
            f" WHERE project_id = {_PROJECT} AND public_id = :id"
        ),
        {
            "provider": provider,
            "identifier": normal,
            "hash": vault.address_hash(before.channel, normal),
            "name": name,
            "session": session,
            "again": identifier is not None,
            "project": project_id,
            "id": public_id,
        },
    )
    return get(connection, project_id, public_id)


def _follow(connection: Connection, project_id: int, before: TargetView, identifier: str) -> None:
    """Where the target was its user's own email or phone, that changes with it, and is unverified."""
    column = _COLUMN.get(before.channel)
    if column is not None and before.user_id is not None:
        connection.execute(
            text(
                f"UPDATE users SET {column} = :new, {column}_verified = false, updated_at = now()"
                f" WHERE project_id = :project AND public_id = :user AND {column} = :old"
            ),
            {"new": identifier, "project": project_id, "user": before.user_id, "old": before.identifier},
        )


def delete(connection: Connection, project_id: int, public_id: str) -> None:
    """Remove the target and its subscriptions; raises `NotFoundError`. The ledger keeps its rows."""
    gone = connection.execute(
        text(f"DELETE FROM targets WHERE project_id = {_PROJECT} AND public_id = :id RETURNING id"),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if gone is None:
        raise NotFoundError("target", public_id)


def replace_address(connection: Connection, vault: Vault, *, user: int, channel: Channel, old: str, new: str) -> None:
    """Give the user's target for the address `old` the address `new`; it stays in its topics."""
    connection.execute(
        text(
            "UPDATE targets SET identifier = :new, address_hash = :hash, registered_at = now(), dead_at = NULL,"
            " dead_provider_id = NULL, expired_at = NULL, updated_at = now()"
            " WHERE user_id = :user AND channel = :channel AND identifier = :old AND provider_id IS NULL"
        ),
        {
            "new": new,
            "hash": vault.address_hash(channel, new),
            "user": user,
            "channel": channel,
            "old": old,
        },
    )


def drop_address(connection: Connection, *, user: int, channel: Channel, identifier: str) -> None:
    """Delete the user's target for an address, where there is one."""
    connection.execute(
        text(
            "DELETE FROM targets WHERE user_id = :user AND channel = :channel AND identifier = :identifier"
            " AND provider_id IS NULL"
        ),
        {"user": user, "channel": channel, "identifier": identifier},
    )


def _user(connection: Connection, project_id: int, public_id: str | None) -> int | None:
    if public_id is None:
        return None
    number: int | None = connection.execute(
        text("SELECT id FROM users WHERE project_id = :project AND public_id = :id"),
        {"project": project_id, "id": public_id},
    ).scalar()
    if number is None:
        raise NotFoundError("user", public_id)
    return number


def _provider(
    connection: Connection, project_id: int, public_id: str | None, channel: Channel
) -> tuple[int | None, str | None]:
    if public_id is None:
        return None, None
    row = connection.execute(
        text("SELECT id, kind, channel FROM providers WHERE project_id = :project AND public_id = :id"),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError("provider", public_id)
    if row.channel != channel:
        raise InvalidArgumentError("provider_id", f"'{public_id}' is a provider of {row.channel}, not of {channel}")
    return row.id, row.kind


def _refuse_taken_id(
    connection: Connection,
    project_id: int,
    target_id: str,
    *,
    channel: Channel,
    identifier: str,
    provider: int | None,
) -> None:
    row = connection.execute(
        text(
            "SELECT channel, identifier, coalesce(provider_id, 0) AS provider FROM targets"
            f" WHERE project_id = {_PROJECT} AND public_id = :id"
        ),
        {"project": project_id, "id": target_id},
    ).one_or_none()
    if row is not None and (row.channel, row.identifier, row.provider) != (channel, identifier, provider or 0):
        raise ConflictError(f"The target '{target_id}' exists already. Choose another id, or update that target.")


def _one(connection: Connection, where: str, parameters: dict[str, Any], named: str) -> TargetView:
    row = connection.execute(text(f"{_VIEW} WHERE {where}"), parameters).one_or_none()
    if row is None:
        raise NotFoundError("target", named)
    return _view(row)


def _view(row: Row[Any]) -> TargetView:
    return TargetView(
        id=row.public_id,
        user_id=row.user_id,
        provider_id=row.provider_id,
        channel=Channel(row.channel),
        identifier=row.identifier,
        name=row.name,
        expired=row.dead_at is not None or row.expired_at is not None,
        registered_at=row.registered_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
