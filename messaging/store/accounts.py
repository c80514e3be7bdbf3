"""Accounts: what of a user concerns signing in. Everything else of a user is in `users`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from messaging.store import users
from messaging.vault import Vault

_VIEW = (
    "id AS number, public_id AS id, name, email, phone, blocked, labels, prefs, email_verified, phone_verified,"
    " password_updated_at, accessed_at, created_at, updated_at"
)


@dataclass(frozen=True, kw_only=True)
class AccountView:
    """A user with everything that is shown of them; never the password's hash."""

    number: int
    id: str
    name: str
    email: str | None
    phone: str | None
    blocked: bool
    labels: tuple[str, ...]
    prefs: Mapping[str, Any]
    email_verified: bool
    phone_verified: bool
    password_updated_at: datetime | None
    accessed_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What a sign-in is checked against."""

    user: int
    """Number of the user."""
    password_hash: str | None
    blocked: bool


def views(connection: Connection, project_id: int, public_ids: Collection[str]) -> dict[str, AccountView]:
    """Public id → user, of those that exist."""
    if not public_ids:
        return {}
    rows = connection.execute(
        text(f"SELECT {_VIEW} FROM users WHERE project_id = :project AND public_id = ANY(:ids)"),
        {"project": project_id, "ids": list(public_ids)},
    ).mappings()
    return {row["id"]: AccountView(**{**row, "labels": tuple(row["labels"])}) for row in rows}


def create(
    connection: Connection,
    vault: Vault,
    project_id: int,
    *,
    user_id: str,
    email: str,
    password_hash: str,
    name: str = "",
) -> None:
    """A new user with a password; raises `ConflictError` if the id or the address is taken."""
    users.create(connection, vault, project_id, user_id=user_id, name=name, email=email)
    set_password_hash(connection, users.find(connection, project_id, user_id), password_hash)


def mark_anonymous(connection: Connection, user: int) -> None:
    """The user of that number signed in without saying who they are, and goes with their last session."""
    connection.execute(text("UPDATE users SET anonymous = true WHERE id = :user"), {"user": user})


def set_password_hash(connection: Connection, user: int, password_hash: str | None) -> None:
    """Give the user of that number a password, or none."""
    connection.execute(
        text(
            "UPDATE users SET password_hash = :hash, updated_at = now(), anonymous = false,"
            " password_updated_at = CASE WHEN CAST(:hash AS text) IS NULL THEN NULL ELSE now() END WHERE id = :user"
        ),
        {"hash": password_hash, "user": user},
    )


def renew_password_hash(connection: Connection, user: int, password_hash: str) -> None:
    """The same password under newer parameters: for the user nothing has changed."""
    connection.execute(
        text("UPDATE users SET password_hash = :hash WHERE id = :user"), {"hash": password_hash, "user": user}
    )


def credentials_of(connection: Connection, project_id: int, email: str) -> Credentials | None:
    """The credentials of the user with that (normalised) address and a password, or None.

    Whatever its case is: accounts that people open themselves are kept in lower case, and a server may write others.
    """
    row = connection.execute(
        text(
            "SELECT id, password_hash, blocked FROM users WHERE project_id = :project AND lower(email) = lower(:email)"
            " AND password_hash IS NOT NULL ORDER BY email <> :email, id LIMIT 1"
        ),
        {"project": project_id, "email": email},
    ).one_or_none()
    return None if row is None else Credentials(user=row.id, password_hash=row.password_hash, blocked=row.blocked)


def saw(connection: Connection, user: int) -> None:
    """Remember that the user was here; once a day is enough."""
    connection.execute(
        text(
            "UPDATE users SET accessed_at = now() WHERE id = :user"
            " AND (accessed_at IS NULL OR accessed_at < now() - interval '1 day')"
        ),
        {"user": user},
    )
