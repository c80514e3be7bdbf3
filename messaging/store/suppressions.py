"""The suppression list: addresses that must not be written to, as keyed hashes that outlive erasure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, text

from messaging.address import normalise
from messaging.channel import Channel
from messaging.vault import Vault


class Scope(StrEnum):
    """How far a suppression reaches."""

    EVERYTHING = "everything"
    """Hard bounce, complaint, STOP: nothing is sent."""
    BULK = "bulk"
    """Unsubscribed from newsletters: a password code still goes out."""


@dataclass(frozen=True, kw_only=True)
class SuppressionView:
    """An entry of the list. The address itself is not stored; `address_hash` is hexadecimal."""

    channel: Channel
    address_hash: str
    scope: Scope
    reason: str
    created_at: datetime


def add(
    connection: Connection,
    vault: Vault,
    project_id: int,
    *,
    channel: Channel,
    address: str,
    scope: Scope = Scope.EVERYTHING,
    reason: str = "",
) -> SuppressionView:
    """The entry of an address. An entry that reaches further stays as it is."""
    digest = vault.address_hash(channel, normalise(channel, address, argument="address"))
    add_hash(connection, project_id, channel=channel, address_hash=digest, scope=scope, reason=reason)
    found = _find(connection, project_id, channel, digest)
    if found is None:  # pragma: no cover  the row was written in this transaction
        raise LookupError(digest.hex())
    return found


def add_hash(
    connection: Connection,
    project_id: int,
    *,
    channel: Channel,
    address_hash: bytes,
    scope: Scope,
    reason: str = "",
) -> None:
    """Put a target on the list by its `address_hash`, e.g. on a receipt."""
    connection.execute(
        text(
            "INSERT INTO suppressions (project_id, channel, address_hash, scope, reason)"
            " VALUES (:project, :channel, :hash, :scope, :reason)"
            " ON CONFLICT (project_id, channel, address_hash) DO UPDATE"
            " SET scope = excluded.scope, reason = excluded.reason, created_at = now()"
            " WHERE suppressions.scope <> 'everything'"
        ),
        {"project": project_id, "channel": channel, "hash": address_hash, "scope": scope, "reason": reason},
    )


def find(
    connection: Connection, vault: Vault, project_id: int, *, channel: Channel, address: str
) -> SuppressionView | None:
    """The entry of an address, or None."""
    digest = vault.address_hash(channel, normalise(channel, address, argument="address"))
    return _find(connection, project_id, channel, digest)


def remove(connection: Connection, vault: Vault, project_id: int, *, channel: Channel, address: str) -> bool:
    """Take an address off the list; False if it was not on it."""
    digest = vault.address_hash(channel, normalise(channel, address, argument="address"))
    gone = connection.execute(
        text(
            "DELETE FROM suppressions WHERE project_id = :project AND channel = :channel AND address_hash = :hash"
            " RETURNING scope"
        ),
        {"project": project_id, "channel": channel, "hash": digest},
    ).one_or_none()
    return gone is not None


def page(
    connection: Connection, project_id: int, *, channel: Channel | None = None, limit: int = 100, offset: int = 0
) -> list[SuppressionView]:
    """Entries, newest first."""
    rows = connection.execute(
        text(
            "SELECT channel, address_hash, scope, reason, created_at FROM suppressions WHERE project_id = :project"
            " AND (CAST(:channel AS text) IS NULL OR channel = :channel)"
            " ORDER BY created_at DESC, address_hash LIMIT :limit OFFSET :offset"
        ),
        {"project": project_id, "channel": channel, "limit": limit, "offset": offset},
    )
    return [
        SuppressionView(
            channel=Channel(row.channel),
            address_hash=row.address_hash.hex(),
            scope=Scope(row.scope),
            reason=row.reason,
            created_at=row.created_at,
        )
        for row in rows
    ]


def _find(connection: Connection, project_id: int, channel: Channel, digest: bytes) -> SuppressionView | None:
    row = connection.execute(
        text(
            "SELECT scope, reason, created_at FROM suppressions"
            " WHERE project_id = :project AND channel = :channel AND address_hash = :hash"
        ),
        {"project": project_id, "channel": channel, "hash": digest},
    ).one_or_none()
    if row is None:
        return None
    return SuppressionView(
        channel=channel,
        address_hash=digest.hex(),
        scope=Scope(row.scope),
        reason=row.reason,
        created_at=row.created_at,
    )
