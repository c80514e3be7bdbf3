"""Providers: configured accounts. Credentials are sealed at rest and never shown again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import bindparam

from messaging.catalog import ProviderKind, kind_of
from messaging.channel import Channel
from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError
from messaging.ids import check_id, new_id
from messaging.limits import Limits
from messaging.store import lists, provider_fields, provider_stops, receipts, vault_keys
from messaging.store.lists import Attribute, Kind, ListOf, Wanted, common_attributes
from messaging.vault import Vault

LONGEST_NAME = 128
HEAVIEST = 1000

_COLUMNS = (
    "id, project_id, public_id, kind, channel, name, enabled, credentials, options, priority, weight, limits,"
    " receipt_key, stopped_at, stopped_reason, stopped_until, stopped_until <= now() AS on_trial, created_at,"
    " updated_at"
)


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """What choosing a provider needs."""

    id: int
    public_id: str
    kind: str
    channel: Channel
    enabled: bool
    stopped_reason: str | None
    priority: int


@dataclass(frozen=True, kw_only=True)
class ProviderAccount:
    """What an adapter needs, credentials in clear: it is never shown, logged or stored."""

    id: int
    project_id: int
    public_id: str
    kind: str
    credentials: Mapping[str, Any]
    options: Mapping[str, Any]
    limits: Limits
    receipt_key: str
    enabled: bool
    stopped_reason: str | None
    on_trial: bool
    """Stopped for a while that is over: one worker may try whether it works again (`provider_stops.probe`)."""
    created_at: datetime
    updated_at: datetime

    def __repr__(self) -> str:
        return f"ProviderAccount(id={self.id}, public_id={self.public_id!r}, kind={self.kind!r})"


@dataclass(frozen=True, kw_only=True)
class ProviderView:
    """A provider as the outside sees it: which secrets are set, never what they are."""

    id: str
    kind: str
    channel: Channel
    name: str
    enabled: bool
    credentials: Mapping[str, Any]
    """Credentials that are no secrets, e.g. `teamId`."""
    secrets_set: tuple[str, ...]
    options: Mapping[str, Any]
    missing: tuple[str, ...]
    """Names without which it can't be enabled."""
    unavailable: str | None
    """Why no provider of its kind can be enabled, if so."""
    priority: int
    weight: int
    limits: Limits
    receipt_key: str
    """The secret part of the address its receipts come to."""
    stopped_at: datetime | None
    stopped_reason: str | None
    stopped_until: datetime | None
    """When it is tried again by itself; None while stopped: not before somebody says so."""
    created_at: datetime
    updated_at: datetime


def usable(connection: Connection, project_id: int, channel: Channel) -> list[ProviderRow]:
    """The enabled providers of a channel, first choice first. Stopped ones are among them: see `stopped_reason`."""
    rows = connection.execute(
        text(
            "SELECT id, public_id, kind, channel, enabled, stopped_reason, priority FROM providers"
            " WHERE project_id = :project AND channel = :channel AND enabled ORDER BY priority, id"
        ),
        {"project": project_id, "channel": channel},
    )
    return [
        ProviderRow(
            row.id, row.public_id, row.kind, Channel(row.channel), row.enabled, row.stopped_reason, row.priority
        )
        for row in rows
    ]


def resolve(connection: Connection, project_id: int, public_ids: list[str]) -> dict[str, int]:
    """Public id → number of those providers that exist."""
    rows = connection.execute(
        text("SELECT public_id, id FROM providers WHERE project_id = :project AND public_id = ANY(:ids)"),
        {"project": project_id, "ids": public_ids},
    )
    return {row.public_id: row.id for row in rows}


def find(connection: Connection, project_id: int, public_id: str) -> int:
    """The number of a provider; raises `NotFoundError`."""
    number = resolve(connection, project_id, [public_id]).get(public_id)
    if number is None:
        raise NotFoundError("provider", public_id)
    return number


def load_account(connection: Connection, vault: Vault, provider_id: int) -> ProviderAccount:
    """The account of the provider of that number, opened; raises `NotFoundError`, or `SettingsError` for another key.

    Options that were not given carry the catalogue's defaults.
    """
    row = connection.execute(
        text(f"SELECT {_COLUMNS} FROM providers WHERE id = :id"), {"id": provider_id}
    ).one_or_none()
    if row is None:
        raise NotFoundError("provider", str(provider_id))
    kind = kind_of(row.kind)
    return ProviderAccount(
        id=row.id,
        project_id=row.project_id,
        public_id=row.public_id,
        kind=row.kind,
        limits=Limits.of(row.limits),
        receipt_key=row.receipt_key,
        on_trial=bool(row.on_trial),
        credentials=provider_fields.with_defaults(kind.credentials, _opened(vault, row.credentials)),
        options=provider_fields.with_defaults(kind.options, row.options),
        enabled=row.enabled,
        stopped_reason=row.stopped_reason,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def create(  # noqa: PLR0913  what can be said of an account
    connection: Connection,
    vault: Vault,
    project_id: int,
    *,
    kind: str,
    credentials: Mapping[str, Any],
    options: Mapping[str, Any] | None = None,
    name: str | None = None,
    provider_id: str | None = None,
    enabled: bool | None = None,
    priority: int = 0,
    weight: int = 0,
    limits: Limits | None = None,
) -> ProviderView:
    """A new provider; enabled when its credentials are complete, unless `enabled` says otherwise.

    Raises `InvalidArgumentError` (unknown kind or name, wrong type, `enabled=True` without a required
    value or for a kind that can't send yet), `ConflictError` (the id is taken).
    """
    entry = kind_of(kind)
    public_id = check_id("provider_id", provider_id) if provider_id is not None else new_id()
    checked = provider_fields.check(entry, entry.credentials, credentials, "credentials")
    chosen = provider_fields.check(entry, entry.options, options or {}, "options")
    missing = provider_fields.missing(entry, checked, chosen)
    if enabled:
        _refuse_enabling(entry, missing)
    row = connection.execute(
        text(
            "INSERT INTO providers (project_id, public_id, kind, channel, name, enabled, credentials, options,"
            " priority, weight, limits, app) VALUES (:project, :id, :kind, :channel, :name, :enabled, :credentials,"
            " :options, :priority, :weight, :limits, :app) ON CONFLICT (project_id, public_id) DO NOTHING RETURNING id"
        ).bindparams(bindparam("options", type_=JSONB), bindparam("limits", type_=JSONB)),
        {
            "project": project_id,
            "id": public_id,
            "kind": kind,
            "channel": entry.channel,
            "name": _check_name(name or entry.title),
            "enabled": (entry.has_adapter and not missing) if enabled is None else enabled,
            "credentials": vault_keys.seal(connection, vault, checked),
            "options": chosen,
            "priority": priority,
            "weight": _check_weight(weight),
            "limits": (limits or Limits()).as_json(),
            "app": app_of(entry, checked, provider_fields.with_defaults(entry.options, chosen)),
        },
    ).one_or_none()
    if row is None:
        raise ConflictError(f"The provider '{public_id}' exists already. Choose another id, or update that provider.")
    return get(connection, vault, project_id, public_id)


def get(connection: Connection, vault: Vault, project_id: int, public_id: str) -> ProviderView:
    """The provider; raises `NotFoundError`."""
    return _view(vault, _row(connection, project_id, public_id))


def page(
    connection: Connection,
    vault: Vault,
    project_id: int,
    *,
    channel: Channel | None = None,
    after: str | None = None,
    limit: int = 100,
) -> list[ProviderView]:
    """Providers in order of creation, those after the provider `after`; of one channel if named."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM providers WHERE project_id = :project AND id > :after"
            " AND (CAST(:channel AS text) IS NULL OR channel = :channel) ORDER BY id LIMIT :limit"
        ),
        {
            "project": project_id,
            "after": find(connection, project_id, after) if after else 0,
            "channel": channel,
            "limit": limit,
        },
    )
    return [_view(vault, row) for row in rows.mappings()]


@dataclass(frozen=True, kw_only=True)
class ProviderPage:
    """A page of providers, and how many there are."""

    providers: list[ProviderView]
    total: int


_LIST = ListOf(
    what="Provider",
    columns=_COLUMNS,
    source="providers",
    where="project_id = :project",
    number="id",
    public_id="public_id",
    search="concat_ws(' ', public_id, name, kind, channel)",
    attributes={
        **common_attributes(),
        "name": Attribute("name"),
        "provider": Attribute("kind"),
        "type": Attribute("channel"),
        "enabled": Attribute("enabled", Kind.BOOLEAN),
    },
)


def listed(connection: Connection, vault: Vault, project_id: int, wanted: Wanted) -> ProviderPage:
    """Providers as `wanted` filters and orders them; raises `QueryError` or `CursorError`."""
    found = lists.page(connection, _LIST, wanted, {"project": project_id})
    return ProviderPage(providers=[_view(vault, row) for row in found.rows], total=found.total)


def update(  # noqa: PLR0913  what can be changed of an account
    connection: Connection,
    vault: Vault,
    project_id: int,
    public_id: str,
    *,
    name: str | None = None,
    credentials: Mapping[str, Any] | None = None,
    options: Mapping[str, Any] | None = None,
    enabled: bool | None = None,
    priority: int | None = None,
    weight: int | None = None,
    limits: Limits | None = None,
) -> ProviderView:
    """The provider after the change: named credentials and options replace the old, the others stay.

    New credentials or options, or `enabled=True`, let a stopped provider work again, and receipts that were put
    aside are looked at again. Raises `InvalidArgumentError` as `create` does, `NotFoundError`.
    """
    row = _row(connection, project_id, public_id, lock=True)
    entry = kind_of(row["kind"])
    sealed = _opened(vault, row["credentials"]) | provider_fields.check(
        entry, entry.credentials, credentials or {}, "credentials"
    )
    chosen = row["options"] | provider_fields.check(entry, entry.options, options or {}, "options")
    missing = provider_fields.missing(entry, sealed, chosen)
    if enabled:
        _refuse_enabling(entry, missing)
    connection.execute(
        text(
            "UPDATE providers SET name = :name, credentials = :credentials, options = :options, enabled = :enabled,"
            " priority = :priority, weight = :weight, limits = :limits, app = :app, updated_at = clock_timestamp()"
            " WHERE id = :id"
        ).bindparams(bindparam("options", type_=JSONB), bindparam("limits", type_=JSONB)),
        {
            "name": _check_name(name if name is not None else row["name"]),
            "credentials": vault_keys.seal(connection, vault, sealed) if credentials else row["credentials"],
            "options": chosen,
            "enabled": row["enabled"] if enabled is None else enabled,
            "priority": row["priority"] if priority is None else priority,
            "weight": row["weight"] if weight is None else _check_weight(weight),
            "limits": row["limits"] if limits is None else limits.as_json(),
            "app": app_of(entry, sealed, provider_fields.with_defaults(entry.options, chosen)),
            "id": row["id"],
        },
    )
    if credentials or options or enabled:
        provider_stops.start(connection, row["id"], why="changed")
    if credentials:
        receipts.release_held(connection, row["id"])
    return get(connection, vault, project_id, public_id)


def delete(connection: Connection, project_id: int, public_id: str) -> None:
    """Remove the provider; its targets fall back to the channel's first provider. Raises `NotFoundError`."""
    row = _row(connection, project_id, public_id, lock=True)
    clash = connection.execute(
        text(
            "DELETE FROM targets t WHERE t.provider_id = :id AND EXISTS (SELECT 1 FROM targets o"
            " WHERE o.project_id = t.project_id AND o.channel = t.channel AND o.identifier = t.identifier"
            " AND o.id <> t.id AND (o.provider_id IS NULL)) RETURNING t.id"
        ),
        {"id": row["id"]},
    )
    clash.close()
    connection.execute(text("DELETE FROM providers WHERE id = :id"), {"id": row["id"]})


def _row(connection: Connection, project_id: int, public_id: str, *, lock: bool = False) -> RowMapping:
    found = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM providers WHERE project_id = :project AND public_id = :id"
            + (" FOR UPDATE" if lock else "")
        ),
        {"project": project_id, "id": public_id},
    )
    row = found.mappings().one_or_none()
    if row is None:
        raise NotFoundError("provider", public_id)
    return row


def _opened(vault: Vault, sealed: bytes) -> dict[str, Any]:
    opened = vault.open(sealed)
    return opened if isinstance(opened, dict) else {}


def _view(vault: Vault, row: RowMapping) -> ProviderView:
    entry = kind_of(row["kind"])
    opened = _opened(vault, row["credentials"])
    secret = {field.name for field in entry.credentials if field.secret}
    return ProviderView(
        id=row["public_id"],
        kind=row["kind"],
        channel=Channel(row["channel"]),
        name=row["name"],
        enabled=row["enabled"],
        credentials={name: value for name, value in opened.items() if name not in secret},
        secrets_set=tuple(name for name, value in opened.items() if name in secret and value),
        options=row["options"],
        missing=provider_fields.missing(entry, opened, row["options"]),
        unavailable=entry.unavailable,
        priority=row["priority"],
        weight=row["weight"],
        limits=Limits.of(row["limits"]),
        receipt_key=row["receipt_key"],
        stopped_at=row["stopped_at"],
        stopped_reason=row["stopped_reason"],
        stopped_until=row["stopped_until"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _refuse_enabling(entry: ProviderKind, missing: tuple[str, ...]) -> None:
    if entry.unavailable is not None:
        raise InvalidArgumentError("enabled", entry.unavailable)
    if missing:
        raise InvalidArgumentError("enabled", f"{entry.title} can't be enabled without {', '.join(missing)}")


def app_of(entry: ProviderKind, credentials: Mapping[str, Any], options: Mapping[str, Any]) -> str | None:
    """Which app an account's addresses belong to; empty where any account of the channel can reach any address.

    None while what names it is not set.
    """
    named = [_value(options if entry.is_option(name) else credentials, name) for name in entry.app]
    return None if None in named else " ".join(str(value) for value in named)


def _value(values: Mapping[str, Any], path: str) -> object:
    value: Any = values
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _check_weight(weight: int) -> int:
    if not 0 <= weight <= HEAVIEST:
        raise InvalidArgumentError("weight", f"a weight is a whole number from 0 to {HEAVIEST}")
    return weight


def _check_name(name: str) -> str:
    if not name or len(name) > LONGEST_NAME:
        raise InvalidArgumentError("name", f"a provider's name has 1 to {LONGEST_NAME} characters")
    return name
