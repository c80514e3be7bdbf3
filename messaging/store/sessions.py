"""Sessions: users who signed in. The secret is random and shown once; its SHA-256 is kept."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, text

from messaging.errors import NotFoundError
from messaging.ids import new_id

LONGEST_S = 365 * 86_400
"""A session ends after a year, unless a shorter time was asked for."""
LONGEST_USER_AGENT = 512
_SECRET_BYTES = 48

_VIEW = (
    "SELECT s.id AS number, s.public_id, u.id AS user, u.public_id AS user_id, s.provider, s.provider_uid, s.ip,"
    " s.user_agent, s.expires_at, s.created_at, s.updated_at, u.blocked, u.email, u.labels,"
    " u.email_verified OR u.phone_verified AS verified,"
    " coalesce(u.accessed_at > now() - interval '1 day', false) AS seen_today"
    " FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.project_id = :project AND s.expires_at > now()"
)


@dataclass(frozen=True, kw_only=True)
class SessionView:
    """A session that has not expired, with what of its user decides on rights."""

    number: int
    id: str
    user: int
    """Number of the user."""
    user_id: str
    provider: str
    """`email`, `anonymous` or `server`."""
    provider_uid: str
    ip: str
    user_agent: str
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    blocked: bool
    email: str
    labels: tuple[str, ...]
    verified: bool
    seen_today: bool
    """Whether the user was here within a day."""


def create(
    connection: Connection,
    project_id: int,
    *,
    user: int,
    provider: str,
    provider_uid: str = "",
    ip: str = "",
    user_agent: str = "",
    duration_s: int | None = None,
) -> tuple[SessionView, str]:
    """A new session of the user of that number, and its secret, which is shown this once."""
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    public_id = new_id()
    connection.execute(
        text(
            "INSERT INTO sessions"
            " (project_id, user_id, public_id, secret_sha256, provider, provider_uid, ip, user_agent, expires_at)"
            " VALUES (:project, :user, :id, :hash, :provider, :uid, :ip, :agent,"
            "   now() + make_interval(secs => :duration))"
        ),
        {
            "project": project_id,
            "user": user,
            "id": public_id,
            "hash": _hashed(secret),
            "provider": provider,
            "uid": provider_uid,
            "ip": ip,
            "agent": user_agent.replace("\0", "")[:LONGEST_USER_AGENT],
            "duration": min(duration_s or LONGEST_S, LONGEST_S),
        },
    )
    return get(connection, project_id, user, public_id), secret


def of_secret(connection: Connection, project_id: int, secret: str) -> SessionView | None:
    """The session with that secret, or None if there is none or it has expired."""
    return _optional(
        connection.execute(
            text(f"{_VIEW} AND s.secret_sha256 = :hash"), {"project": project_id, "hash": _hashed(secret)}
        ).one_or_none()
    )


def of_id(connection: Connection, project_id: int, public_id: str) -> SessionView | None:
    """The session with that id, or None."""
    return _optional(
        connection.execute(
            text(f"{_VIEW} AND s.public_id = :id"), {"project": project_id, "id": public_id}
        ).one_or_none()
    )


def get(connection: Connection, project_id: int, user: int, public_id: str) -> SessionView:
    """The session, if it is one of the user of that number; raises `NotFoundError`."""
    found = of_id(connection, project_id, public_id)
    if found is None or found.user != user:
        raise NotFoundError("session", public_id)
    return found


def of_user(connection: Connection, project_id: int, user: int) -> list[SessionView]:
    """The sessions of the user of that number, oldest first."""
    rows = connection.execute(
        text(f"{_VIEW} AND s.user_id = :user ORDER BY s.id"), {"project": project_id, "user": user}
    )
    return [_view(row) for row in rows]


def delete(connection: Connection, number: int) -> None:
    """End the session; targets registered in it end too."""
    connection.execute(text("DELETE FROM sessions WHERE id = :number"), {"number": number})


def forget_expired(connection: Connection) -> int:
    """Delete what has expired, with the targets registered in it; returns how many."""
    return connection.execute(text("DELETE FROM sessions WHERE expires_at < now()")).rowcount


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def _optional(row: Row[Any] | None) -> SessionView | None:
    return None if row is None else _view(row)


def _view(row: Row[Any]) -> SessionView:
    return SessionView(
        number=row.number,
        id=row.public_id,
        user=row.user,
        user_id=row.user_id,
        provider=row.provider,
        provider_uid=row.provider_uid,
        ip=row.ip,
        user_agent=row.user_agent,
        expires_at=row.expires_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
        blocked=row.blocked,
        email=row.email or "",
        labels=tuple(row.labels),
        verified=row.verified,
        seen_today=row.seen_today,
    )
