"""Targets: one address of one user (or of nobody) on one channel; one address, one target."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from messaging.address import normalise
from messaging.channel import Channel
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError
from messaging.ids import check_id
from messaging.store import addresses
from messaging.store.addresses import COLUMN, PROJECT
from messaging.vault import Vault

_VIEW = (
    "SELECT t.id AS number, t.public_id, t.user_id AS owner, u.public_id AS user_id, p.public_id AS provider_id,"
    " t.channel, t.identifier, t.name, t.dead_at, t.expired_at, t.registered_at, t.created_at, t.updated_at"
    " FROM targets t LEFT JOIN users u ON u.id = t.user_id LEFT JOIN providers p ON p.id = t.provider_id"
)


@dataclass(frozen=True, slots=True)
class TargetRef:
    """What the audience needs to know of a target."""

    id: int
    channel: Channel


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
        text(f"SELECT public_id, id, channel FROM targets WHERE project_id = {PROJECT} AND public_id = ANY(:ids)"),
        {"project": project_id, "ids": list(public_ids)},
    )
    return {row.public_id: TargetRef(row.id, Channel(row.channel)) for row in rows}


def find(connection: Connection, project_id: int, public_id: str) -> int:
    """The number of a target; raises `NotFoundError`."""
    found = resolve(connection, project_id, [public_id]).get(public_id)
    if found is None:
        raise NotFoundError("target", public_id)
    return found.id


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
        addresses.take_from_others(connection, project_id, normal, user=user, provider=provider)
    number = addresses.register(
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
        f"t.project_id = {PROJECT} AND t.public_id = :id",
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
        taken = addresses.owner_of(connection, project_id, before.channel, normal, provider=provider or 0)
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
            f" WHERE project_id = {PROJECT} AND public_id = :id"
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
    column = COLUMN.get(before.channel)
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
        text(f"DELETE FROM targets WHERE project_id = {PROJECT} AND public_id = :id RETURNING id"),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if gone is None:
        raise NotFoundError("target", public_id)


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
            f" WHERE project_id = {PROJECT} AND public_id = :id"
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
