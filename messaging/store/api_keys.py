"""API keys: random secrets, stored as their SHA-256 (a fast hash is right for what can't be guessed)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from messaging.errors import NotFoundError
from messaging.ids import new_id

PREFIX = "standard_"
"""The prefix Appwrite's own keys carry."""

_COLUMNS = "k.public_id, k.name, k.scopes, k.expires_at, k.created_at, p.id AS project, p.public_id AS project_id"


@dataclass(frozen=True, kw_only=True)
class ApiKeyView:
    """An API key without its secret. No scopes means all of them."""

    id: str
    name: str
    project: int
    """Number of the project."""
    project_id: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    created_at: datetime


def create(
    connection: Connection,
    project_id: int,
    *,
    name: str,
    scopes: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> tuple[ApiKeyView, str]:
    """The new key and its secret, which is shown this once."""
    secret = PREFIX + secrets.token_hex(32)
    public_id = new_id()
    connection.execute(
        text(
            "INSERT INTO api_keys (project_id, public_id, name, secret_sha256, scopes, expires_at)"
            " VALUES (:project, :id, :name, :hash, :scopes, :expires_at)"
        ),
        {
            "project": project_id,
            "id": public_id,
            "name": name,
            "hash": _hashed(secret),
            "scopes": list(scopes),
            "expires_at": expires_at,
        },
    )
    return next(key for key in listed(connection, project_id) if key.id == public_id), secret


_VERIFY = text(
    f"SELECT {_COLUMNS} FROM api_keys k JOIN projects p ON p.id = k.project_id"
    " WHERE k.secret_sha256 = :hash AND (k.expires_at IS NULL OR k.expires_at > now())"
)


def verify(connection: Connection, secret: str) -> ApiKeyView | None:
    """The key of that secret, or None if there is none or it has expired. The prefix may be left out."""
    full = secret if secret.startswith(PREFIX) else PREFIX + secret
    row = connection.execute(_VERIFY, {"hash": _hashed(full)}).one_or_none()
    return None if row is None else _view(row)


def has_expired(connection: Connection, secret: str) -> bool:
    """Whether there is a key of that secret whose time is over."""
    full = secret if secret.startswith(PREFIX) else PREFIX + secret
    return bool(
        connection.execute(
            text("SELECT EXISTS (SELECT 1 FROM api_keys WHERE secret_sha256 = :hash AND expires_at <= now())"),
            {"hash": _hashed(full)},
        ).scalar_one()
    )


def listed(connection: Connection, project_id: int) -> list[ApiKeyView]:
    """The keys of a project, oldest first."""
    rows = connection.execute(
        text(
            f"SELECT {_COLUMNS} FROM api_keys k JOIN projects p ON p.id = k.project_id"
            " WHERE k.project_id = :project ORDER BY k.id"
        ),
        {"project": project_id},
    )
    return [_view(row) for row in rows]


def delete(connection: Connection, project_id: int, public_id: str) -> None:
    """Revoke the key at once; raises `NotFoundError`."""
    gone = connection.execute(
        text("DELETE FROM api_keys WHERE project_id = :project AND public_id = :id RETURNING id"),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if gone is None:
        raise NotFoundError("API key", public_id)


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _view(row: Row[Any]) -> ApiKeyView:
    return ApiKeyView(
        id=row.public_id,
        name=row.name,
        project=row.project,
        project_id=row.project_id,
        scopes=tuple(row.scopes),
        expires_at=row.expires_at,
        created_at=row.created_at,
    )
