"""Users: the people of a project. Their email and phone are targets too, kept in step here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from messaging.address import normalise
from messaging.channel import Channel
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError
from messaging.ids import check_id, new_id
from messaging.store import addresses, erasure, lists
from messaging.store.lists import Attribute, Kind, ListOf, Wanted, common_attributes
from messaging.vault import Vault

LONGEST_NAME = 128

_COLUMNS = "public_id, name, email, phone, created_at, updated_at"


class Unset:
    """Marks an argument that was not given, where None means something."""


UNSET = Unset()


@dataclass(frozen=True, kw_only=True)
class UserView:
    """A user as the outside sees it."""

    id: str
    name: str
    email: str | None
    phone: str | None
    created_at: datetime
    updated_at: datetime


def resolve(connection: Connection, project_id: int, public_ids: Collection[str]) -> dict[str, int]:
    """Public id → number of those users that exist; the rest is missing from the answer."""
    if not public_ids:
        return {}
    rows = connection.execute(
        text("SELECT public_id, id FROM users WHERE project_id = :project AND public_id = ANY(:ids)"),
        {"project": project_id, "ids": list(public_ids)},
    )
    return {row.public_id: row.id for row in rows}


def find(connection: Connection, project_id: int, public_id: str) -> int:
    """The number of a user; raises `NotFoundError`."""
    number = resolve(connection, project_id, [public_id]).get(public_id)
    if number is None:
        raise NotFoundError("user", public_id)
    return number


def create(
    connection: Connection,
    vault: Vault,
    project_id: int,
    *,
    user_id: str | None = None,
    name: str = "",
    email: str | None = None,
    phone: str | None = None,
) -> UserView:
    """A new user, with an email target and an SMS target for the addresses given.

    Raises `ConflictError` if the id is taken or an address belongs to another user,
    `InvalidArgumentError` if an address is malformed.
    """
    public_id = check_id("user_id", user_id) if user_id is not None else new_id()
    _check_name(name)
    row = connection.execute(
        text(
            "INSERT INTO users (project_id, public_id, name) VALUES (:project, :id, :name)"
            " ON CONFLICT (project_id, public_id) DO NOTHING RETURNING id"
        ),
        {"project": project_id, "id": public_id, "name": name},
    ).one_or_none()
    if row is None:
        raise ConflictError(f"The user '{public_id}' exists already. Choose another id, or update that user.")
    for channel, address in ((Channel.EMAIL, email), (Channel.SMS, phone)):
        if address:
            _set_address(connection, vault, project_id, row.id, channel=channel, address=address)
    return get(connection, project_id, public_id)


def get(connection: Connection, project_id: int, public_id: str) -> UserView:
    """The user; raises `NotFoundError`."""
    row = connection.execute(
        text(f"SELECT {_COLUMNS} FROM users WHERE project_id = :project AND public_id = :id"),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError("user", public_id)
    return _view(row)


def page(
    connection: Connection, project_id: int, *, after: str | None = None, search: str | None = None, limit: int = 100
) -> list[UserView]:
    """Users in order of creation, those after the user `after`; `search` looks in id, name, email and phone."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM users WHERE project_id = :project AND id > :after"
            " AND (CAST(:search AS text) IS NULL"
            "   OR concat_ws(' ', public_id, name, email, phone) ILIKE '%' || :search || '%')"
            " ORDER BY id LIMIT :limit"
        ),
        {
            "project": project_id,
            "after": find(connection, project_id, after) if after else 0,
            "search": search,
            "limit": limit,
        },
    )
    return [_view(row) for row in rows]


def count(connection: Connection, project_id: int) -> int:
    """How many users the project has."""
    number: int = connection.execute(
        text("SELECT count(*) FROM users WHERE project_id = :project"), {"project": project_id}
    ).scalar_one()
    return number


@dataclass(frozen=True, kw_only=True)
class UserPage:
    """A page of users by their ids, and how many there are."""

    ids: list[str]
    total: int


_LIST = ListOf(
    what="User",
    columns="public_id",
    source="users",
    where="project_id = :project",
    number="id",
    public_id="public_id",
    search="concat_ws(' ', public_id, name, email, phone)",
    attributes={
        **common_attributes(),
        "name": Attribute("name"),
        "email": Attribute("email"),
        "phone": Attribute("phone"),
        "status": Attribute("(NOT blocked)", Kind.BOOLEAN),
        "labels": Attribute("labels", Kind.WORDS),
        "registration": Attribute("created_at", Kind.TIME),
        "passwordUpdate": Attribute("password_updated_at", Kind.TIME),
        "emailVerification": Attribute("email_verified", Kind.BOOLEAN),
        "phoneVerification": Attribute("phone_verified", Kind.BOOLEAN),
        "accessedAt": Attribute("accessed_at", Kind.TIME),
    },
)


def listed(connection: Connection, project_id: int, wanted: Wanted) -> UserPage:
    """Users as `wanted` filters and orders them; raises `QueryError` or `CursorError`."""
    found = lists.page(connection, _LIST, wanted, {"project": project_id})
    return UserPage(ids=[row["public_id"] for row in found.rows], total=found.total)


def set_attributes(
    connection: Connection,
    project_id: int,
    public_id: str,
    *,
    labels: Sequence[str] | None = None,
    prefs: Mapping[str, Any] | None = None,
    blocked: bool | None = None,
    email_verified: bool | None = None,
    phone_verified: bool | None = None,
) -> None:
    """Replace what is given of a user; raises `NotFoundError`."""
    changed = connection.execute(
        text(
            "UPDATE users SET labels = coalesce(CAST(:labels AS text[]), labels), prefs = coalesce(:prefs, prefs),"
            " blocked = coalesce(CAST(:blocked AS boolean), blocked),"
            " email_verified = coalesce(CAST(:email_verified AS boolean), email_verified),"
            " phone_verified = coalesce(CAST(:phone_verified AS boolean), phone_verified), updated_at = now()"
            " WHERE project_id = :project AND public_id = :id RETURNING id"
        ).bindparams(bindparam("prefs", type_=JSONB(none_as_null=True))),
        {
            "labels": None if labels is None else list(dict.fromkeys(labels)),
            "prefs": None if prefs is None else dict(prefs),
            "blocked": blocked,
            "email_verified": email_verified,
            "phone_verified": phone_verified,
            "project": project_id,
            "id": public_id,
        },
    )
    if changed.one_or_none() is None:
        raise NotFoundError("user", public_id)


def update(
    connection: Connection,
    vault: Vault,
    project_id: int,
    public_id: str,
    *,
    name: str | None = None,
    email: str | Unset | None = UNSET,
    phone: str | Unset | None = UNSET,
) -> UserView:
    """The user after the change. A new address replaces the old target in place; None removes address and target."""
    number = find(connection, project_id, public_id)
    if name is not None:
        _check_name(name)
        connection.execute(
            text("UPDATE users SET name = :name, updated_at = now() WHERE id = :id"), {"name": name, "id": number}
        )
    for channel, address in ((Channel.EMAIL, email), (Channel.SMS, phone)):
        if isinstance(address, Unset):
            continue
        if address:
            _set_address(connection, vault, project_id, number, channel=channel, address=address)
        else:
            _clear_address(connection, number, channel)
    return get(connection, project_id, public_id)


def delete(connection: Connection, vault: Vault, project_id: int, public_id: str) -> None:
    """Erase the user: every trace of their addresses goes (`erasure`). Raises `NotFoundError`.

    The ledger keeps its rows, which name nobody any more.
    """
    erasure.erase_user(connection, vault, project_id, find(connection, project_id, public_id))


_COLUMN = {Channel.EMAIL: "email", Channel.SMS: "phone"}


def _set_address(
    connection: Connection, vault: Vault, project_id: int, user: int, *, channel: Channel, address: str
) -> None:
    column = _COLUMN[channel]
    identifier = normalise(channel, address, argument=column)
    # Two that ask for one address at the same time: the second waits here, then finds it taken.
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended(:address, :project))"),
        {"address": f"{column} {identifier}", "project": project_id},
    )
    old: str | None = connection.execute(
        text(f"SELECT {column} FROM users WHERE id = :id FOR UPDATE"), {"id": user}
    ).scalar_one()
    taken = addresses.owner_of(connection, project_id, channel, identifier)
    if taken is not None and taken.user is not None and taken.user != user:
        raise ConflictError(
            f"The {column} {identifier} belongs to another user. Remove it there first, or use another address."
        )
    if old is not None and old != identifier:
        if taken is None:
            addresses.replace_address(connection, vault, user=user, channel=channel, old=old, new=identifier)
        else:
            addresses.drop_address(connection, user=user, channel=channel, identifier=old)
    addresses.register(connection, vault, project_id, user=user, channel=channel, identifier=identifier)
    connection.execute(
        text(
            f"UPDATE users SET {column} = :address, updated_at = now(),"
            f" {column}_verified = {column}_verified AND {column} IS NOT DISTINCT FROM :address, anonymous = false"
            " WHERE id = :id"
        ),
        {"address": identifier, "id": user},
    )


def _clear_address(connection: Connection, user: int, channel: Channel) -> None:
    column = _COLUMN[channel]
    old = connection.execute(text(f"SELECT {column} FROM users WHERE id = :id FOR UPDATE"), {"id": user}).scalar_one()
    if old is not None:
        addresses.drop_address(connection, user=user, channel=channel, identifier=old)
        connection.execute(
            text(f"UPDATE users SET {column} = NULL, {column}_verified = false, updated_at = now() WHERE id = :id"),
            {"id": user},
        )


def _check_name(name: str) -> None:
    if len(name) > LONGEST_NAME:
        raise InvalidArgumentError("name", f"a name has at most {LONGEST_NAME} characters, not {len(name)}")


def _view(row: Row[Any]) -> UserView:
    return UserView(
        id=row.public_id,
        name=row.name,
        email=row.email,
        phone=row.phone,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
