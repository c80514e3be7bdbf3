"""Who holds an address: one address, one target. A device that signs in to another account takes its token along."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from messaging.address import normalise
from messaging.channel import Channel
from messaging.ids import new_id
from messaging.vault import Vault

# Not a constant to the planner: for a project that the statistics have not seen yet it would expect one target, take
# whichever index begins with the project and read all of it.
PROJECT = "(SELECT CAST(:project AS bigint))"
_ADDRESS = "project_id, channel, coalesce(provider_id, 0), identifier"

COLUMN = {Channel.EMAIL: "email", Channel.SMS: "phone"}
"""Where a user's own address stands."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The target that holds an address, and the number of its user (None: nobody's)."""

    target: int
    user: int | None


def owner_of(
    connection: Connection, project_id: int, channel: Channel, identifier: str, *, provider: int = 0
) -> Owner | None:
    """Who holds the (normalised) address with the provider of that number, 0 for none; None if no target does."""
    row = connection.execute(
        text(
            f"SELECT id, user_id FROM targets WHERE project_id = {PROJECT} AND channel = :channel"
            " AND coalesce(provider_id, 0) = :provider AND identifier = :identifier"
        ),
        {"project": project_id, "channel": channel, "provider": provider, "identifier": identifier},
    ).one_or_none()
    return None if row is None else Owner(row.id, row.user_id)


def users_of(connection: Connection, project_id: int, channel: Channel, identifier: str) -> set[int]:
    """Numbers of the users that hold the (normalised) address, with any provider or none."""
    rows = connection.execute(
        text(
            f"SELECT user_id FROM targets WHERE project_id = {PROJECT} AND channel = :channel"
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
            f"SELECT identifier, id FROM targets WHERE project_id = {PROJECT} AND channel = :channel"
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


def take_from_others(connection: Connection, project_id: int, token: str, *, user: int, provider: int | None) -> None:
    """Delete other users' targets of a device under another provider, or none; `register` moves the one it finds."""
    if not users_of(connection, project_id, Channel.PUSH, token) - {user}:
        return
    connection.execute(
        text(
            f"DELETE FROM targets WHERE project_id = {PROJECT} AND channel = :channel AND identifier = :token"
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
    column = COLUMN.get(channel)
    if column is not None:
        connection.execute(
            text(f"UPDATE users SET {column} = NULL, updated_at = now() WHERE id = :user AND {column} = :identifier"),
            {"user": user, "identifier": identifier},
        )


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
