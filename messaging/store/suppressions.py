"""The suppression list: addresses that must not be written to, as keyed hashes that outlive erasure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, RowMapping, text

from messaging.address import normalise
from messaging.channel import Channel
from messaging.content_fields import storable
from messaging.errors import InvalidArgumentError, NotFoundError
from messaging.store import lists
from messaging.store.lists import Attribute, Filter, Kind, ListOf, Wanted
from messaging.vault import Vault

BY_HAND = "by hand"
"""The reason of whoever gives none."""
LONGEST_REASON = 200


class Scope(StrEnum):
    """How far a suppression reaches."""

    EVERYTHING = "everything"
    """Hard bounce, complaint, STOP: nothing is sent."""
    BULK = "bulk"
    """Unsubscribed from newsletters: a password code still goes out."""


@dataclass(frozen=True, kw_only=True)
class SuppressionView:
    """An entry of the list. The address itself is not stored; the id is made of its keyed hash."""

    id: str
    channel: Channel
    scope: Scope
    reason: str
    """`bounced_hard`, `complained` or `unsubscribed`, perhaps with the provider's code; or the words of whoever
    added it."""
    created_at: datetime
    """Since when it reaches so far."""


@dataclass(frozen=True, kw_only=True)
class SuppressionPage:
    """A page of the list, and how many entries match."""

    suppressions: list[SuppressionView]
    total: int


_HANDLE = re.compile(r"([pes])-([0-9a-f]{32})", re.ASCII)
_CHANNELS = {str(channel)[0]: channel for channel in Channel}


def handle(channel: Channel, address_hash: bytes) -> str:
    """The public id of an entry: an id on the wire has 36 characters at most, so the channel is one letter."""
    return f"{str(channel)[0]}-{address_hash.hex()}"


def parse_handle(suppression_id: str) -> tuple[Channel, bytes] | None:
    """(channel, hash) of a public id, or None if it isn't one of ours."""
    found = _HANDLE.fullmatch(suppression_id)
    return None if found is None else (_CHANNELS[found[1]], bytes.fromhex(found[2]))


def address_hash(vault: Vault, channel: Channel, address: str) -> bytes:
    """The keyed hash under which an address is listed; raises `InvalidArgumentError`."""
    return vault.address_hash(channel, storable("address", normalise(channel, address, argument="address")))


def check_reason(reason: str) -> str:
    """`reason`, or `InvalidArgumentError`."""
    if len(reason) > LONGEST_REASON:
        raise InvalidArgumentError("reason", f"has at most {LONGEST_REASON} characters, not {len(reason):,}")
    return storable("reason", reason)


def add(
    connection: Connection,
    vault: Vault,
    project_id: int,
    *,
    channel: Channel,
    address: str,
    scope: Scope = Scope.EVERYTHING,
    reason: str = BY_HAND,
) -> SuppressionView:
    """The entry of an address. An entry that reaches further stays as it is."""
    digest = address_hash(vault, channel, address)
    add_hash(connection, project_id, channel=channel, address_hash=digest, scope=scope, reason=check_reason(reason))
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


def add_targets(connection: Connection, target_ids: Sequence[int], *, scope: Scope, reason: str) -> None:
    """Put the addresses of targets on the list; an entry that reaches further stays as it is."""
    connection.execute(
        text("""INSERT INTO suppressions (project_id, channel, address_hash, scope, reason)
                SELECT DISTINCT project_id, channel, address_hash, :scope, :reason FROM targets
                 WHERE id = ANY(CAST(:ids AS bigint[]))
                ON CONFLICT (project_id, channel, address_hash) DO UPDATE
                   SET scope = excluded.scope, reason = excluded.reason, created_at = now()
                 WHERE suppressions.scope <> 'everything'"""),
        {"ids": list(target_ids), "scope": scope, "reason": reason},
    )


_LIFTED_BY_THEM = "reason LIKE 'unsubscribed%'"
"""Whoever opted in again lifts their own opt-out, and never a bounce or a complaint."""


def remove_targets(connection: Connection, target_ids: Sequence[int], *, scope: Scope) -> None:
    """Lift the opt-outs, of that scope, of those who opted in again."""
    connection.execute(
        text(f"""DELETE FROM suppressions s USING targets t
                  WHERE t.id = ANY(CAST(:ids AS bigint[])) AND s.project_id = t.project_id AND s.channel = t.channel
                    AND s.address_hash = t.address_hash AND s.scope = :scope AND {_LIFTED_BY_THEM}"""),
        {"ids": list(target_ids), "scope": scope},
    )


def remove_hash(
    connection: Connection, project_id: int, *, channel: Channel, address_hash: bytes, scope: Scope
) -> None:
    """The same by the hash of an address."""
    connection.execute(
        text(f"""DELETE FROM suppressions WHERE project_id = :project AND channel = :channel AND address_hash = :hash
                    AND scope = :scope AND {_LIFTED_BY_THEM}"""),
        {"project": project_id, "channel": channel, "hash": address_hash, "scope": scope},
    )


def find(
    connection: Connection, vault: Vault, project_id: int, *, channel: Channel, address: str
) -> SuppressionView | None:
    """The entry of an address, or None."""
    digest = address_hash(vault, channel, address)
    return _find(connection, project_id, channel, digest)


def remove(connection: Connection, vault: Vault, project_id: int, *, channel: Channel, address: str) -> bool:
    """Take an address off the list; False if it was not on it."""
    digest = address_hash(vault, channel, address)
    return _delete(connection, project_id, channel, digest)


def lift(connection: Connection, project_id: int, suppression_id: str) -> None:
    """Take the entry of that id off the list; raises `NotFoundError`."""
    named = parse_handle(suppression_id)
    if named is None or not _delete(connection, project_id, *named):
        raise NotFoundError("suppression", suppression_id)


def _delete(connection: Connection, project_id: int, channel: Channel, digest: bytes) -> bool:
    gone = connection.execute(
        text(
            "DELETE FROM suppressions WHERE project_id = :project AND channel = :channel AND address_hash = :hash"
            " RETURNING scope"
        ),
        {"project": project_id, "channel": channel, "hash": digest},
    ).one_or_none()
    return gone is not None


def _cursor(suppression_id: str) -> bytes:
    named = parse_handle(suppression_id)
    if named is None:
        raise ValueError(suppression_id)
    return named[1]


_LIST = ListOf(
    what="Suppression",
    columns="channel, address_hash, scope, reason, created_at",
    source="suppressions",
    where="project_id = :project",
    # the channel is part of what was hashed: no two entries of a project share a hash
    number="address_hash",
    public_id="address_hash",
    cursor=_cursor,
    attributes={
        "$id": Attribute("(left(channel, 1) || '-' || encode(address_hash, 'hex'))"),
        "$createdAt": Attribute("created_at", Kind.TIME),
        "channel": Attribute("channel"),
        "providerType": Attribute("channel"),
        "scope": Attribute("scope"),
        "reason": Attribute("reason"),
    },
)


def listed(connection: Connection, project_id: int, wanted: Wanted) -> SuppressionPage:
    """Entries as `wanted` filters and orders them, the oldest first where it says nothing.

    Raises `QueryError` or `CursorError`.
    """
    order = [(name or "$createdAt", descending) for name, descending in wanted.order] or [("$createdAt", False)]
    found = lists.page(connection, _LIST, replace(wanted, order=order), {"project": project_id})
    return SuppressionPage(suppressions=[_view(row) for row in found.rows], total=found.total)


def page(
    connection: Connection,
    project_id: int,
    *,
    channel: Channel | None = None,
    scope: Scope | None = None,
    reason: str | None = None,
    limit: int = 100,
    offset: int = 0,
) -> list[SuppressionView]:
    """Entries, newest first; those whose reason begins with `reason`."""
    filters = [
        Filter(method=method, attribute=name, values=[value])
        for method, name, value in (
            ("equal", "channel", channel),
            ("equal", "scope", scope),
            ("startsWith", "reason", reason),
        )
        if value is not None
    ]
    wanted = Wanted(filters=filters, order=[("$createdAt", True)], limit=limit, offset=offset, total=False)
    return listed(connection, project_id, wanted).suppressions


def _find(connection: Connection, project_id: int, channel: Channel, digest: bytes) -> SuppressionView | None:
    row = (
        connection.execute(
            text(
                f"SELECT {_LIST.columns} FROM suppressions"
                " WHERE project_id = :project AND channel = :channel AND address_hash = :hash"
            ),
            {"project": project_id, "channel": channel, "hash": digest},
        )
        .mappings()
        .one_or_none()
    )
    return None if row is None else _view(row)


def _view(row: RowMapping) -> SuppressionView:
    channel = Channel(row["channel"])
    return SuppressionView(
        id=handle(channel, bytes(row["address_hash"])),
        channel=channel,
        scope=Scope(row["scope"]),
        reason=row["reason"],
        created_at=row["created_at"],
    )
