"""Reading what happened to an account: stopped, paused, started, checked. `provider_stops.log` writes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from messaging.store import lists, providers
from messaging.store.lists import Attribute, Kind, ListOf, Wanted


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One thing that happened."""

    id: str
    what: str
    """`stopped`, `paused`, `started`, `checked` or `quarantined`."""
    reason: str
    """Why, or how it went, in words."""
    at: datetime


@dataclass(frozen=True, kw_only=True)
class LogPage:
    """A page of an account's log, and how long it is."""

    entries: list[LogEntry]
    total: int


_LIST = ListOf(
    what="Entry",
    columns="id, what, reason, created_at",
    source="provider_log",
    where="provider_id = :provider",
    number="id",
    public_id="id::text",
    attributes={
        "$id": Attribute("id::text"),
        "$createdAt": Attribute("created_at", Kind.TIME),
        "what": Attribute("what"),
    },
)


def listed(connection: Connection, project_id: int, provider_id: str, wanted: Wanted) -> LogPage:
    """An account's log, newest first unless `wanted` orders it.

    Raises `NotFoundError`, `QueryError` or `CursorError`.
    """
    number = providers.find(connection, project_id, provider_id)
    newest_first = wanted if wanted.order else replace(wanted, order=(("", True),))
    found = lists.page(connection, _LIST, newest_first, {"provider": number})
    return LogPage(entries=[_entry(row) for row in found.rows], total=found.total)


def _entry(row: Mapping[Any, Any]) -> LogEntry:
    return LogEntry(id=str(row["id"]), what=row["what"], reason=row["reason"], at=row["created_at"])
