"""Operators: who may sign in to the console, and the browsers they are signed in with."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import Connection, Row, text
from sqlalchemy.exc import IntegrityError

from messaging.errors import ConflictError, InvalidArgumentError, NotFoundError
from messaging.ids import new_id
from messaging.passwords import LONGEST, hash_password, is_outdated, is_password

SHORTEST_PASSWORD = 12
"""More than users of an app must have: an operator writes to everybody."""
SESSION_S = 12 * 3600
IDLE_S = 2 * 3600
"""A browser nobody used for so long is signed out."""

_SECRET_BYTES = 32
_COLUMNS = "o.id AS number, o.public_id, o.email, o.name, o.role, o.enabled, o.seen_at, o.created_at"


class OperatorRole(StrEnum):
    """What an operator may do; each may do what those before it may."""

    VIEWER = "viewer"
    """Look at everything but credentials."""
    OPERATOR = "operator"
    """Send, cancel, pause, retry; change topics, users, targets and suppressions."""
    ADMIN = "admin"
    """Providers, keys, projects and operators."""

    def may(self, needed: OperatorRole) -> bool:
        """Whether it is `needed` or more."""
        order = list(OperatorRole)
        return order.index(self) >= order.index(needed)


@dataclass(frozen=True, kw_only=True)
class OperatorView:
    """An operator."""

    number: int
    id: str
    email: str
    name: str
    role: OperatorRole
    enabled: bool
    seen_at: datetime | None
    created_at: datetime


def create(
    connection: Connection, *, email: str, password: str, role: OperatorRole | str, name: str = ""
) -> OperatorView:
    """A new operator; raises `InvalidArgumentError`, or `ConflictError` where the address has one already."""
    try:
        address = validate_email(email, check_deliverability=False, test_environment=True).normalized
    except EmailNotValidError as error:
        raise InvalidArgumentError("email", str(error)) from None
    _check(password)
    try:
        with connection.begin_nested():
            connection.execute(
                text(
                    "INSERT INTO operators (public_id, email, name, role, password_hash)"
                    " VALUES (:id, :email, :name, :role, :hash)"
                ),
                {
                    "id": new_id(),
                    "email": address,
                    "name": name,
                    "role": _role(role),
                    "hash": hash_password(password),
                },
            )
    except IntegrityError:
        raise ConflictError(f"{address} is an operator already. Change that one, or use another address.") from None
    return find(connection, address)


def _check(password: str) -> None:
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST:
        raise InvalidArgumentError("password", f"it has {len(password)} characters; {SHORTEST_PASSWORD} to {LONGEST}")


def _role(role: OperatorRole | str) -> OperatorRole:
    try:
        return OperatorRole(role)
    except ValueError:
        raise InvalidArgumentError("role", f"'{role}' is none of {', '.join(OperatorRole)}") from None


def listed(connection: Connection) -> Sequence[OperatorView]:
    """Every operator, oldest first."""
    return [_view(row) for row in connection.execute(text(f"SELECT {_COLUMNS} FROM operators o ORDER BY o.id"))]


def find(connection: Connection, id_or_email: str) -> OperatorView:
    """The operator with that id or address; raises `NotFoundError`."""
    row = connection.execute(
        text(f"SELECT {_COLUMNS} FROM operators o WHERE o.public_id = :it OR lower(o.email) = lower(:it)"),
        {"it": id_or_email},
    ).one_or_none()
    if row is None:
        raise NotFoundError("operator", id_or_email)
    return _view(row)


def change(
    connection: Connection,
    operator: OperatorView,
    *,
    role: OperatorRole | str | None = None,
    enabled: bool | None = None,
    password: str | None = None,
) -> OperatorView:
    """The operator as it is then, signed out everywhere. The last enabled admin stays one: raises `ConflictError`."""
    if password is not None:
        _check(password)
    chosen = operator.role if role is None else _role(role)
    stays = operator.enabled if enabled is None else enabled
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('operators', 0))"))
    connection.execute(
        text(
            "UPDATE operators SET role = :role, enabled = :enabled, password_hash = coalesce(:hash, password_hash)"
            " WHERE id = :number"
        ),
        {
            "number": operator.number,
            "role": chosen,
            "enabled": stays,
            "hash": None if password is None else hash_password(password),
        },
    )
    _needs_an_admin(connection)
    connection.execute(text("DELETE FROM operator_sessions WHERE operator_id = :number"), {"number": operator.number})
    return find(connection, operator.id)


def delete(connection: Connection, operator: OperatorView) -> None:
    """Delete the operator, who is signed out at once. The last enabled admin stays: raises `ConflictError`."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('operators', 0))"))
    connection.execute(text("DELETE FROM operators WHERE id = :number"), {"number": operator.number})
    _needs_an_admin(connection)


def _needs_an_admin(connection: Connection) -> None:
    left = connection.execute(
        text("SELECT EXISTS (SELECT 1 FROM operators WHERE enabled AND role = 'admin')")
    ).scalar_one()
    if not left:
        raise ConflictError("Nobody would be left who may manage operators. Make another one admin first.")


def any_exist(connection: Connection) -> bool:
    """Whether anybody could sign in."""
    return bool(connection.execute(text("SELECT EXISTS (SELECT 1 FROM operators)")).scalar_one())


# -- sessions ------------------------------------------------------------------------------------------


def sign_in(connection: Connection, *, email: str, password: str) -> tuple[OperatorView, str] | None:
    """The operator and the secret of a new session, shown this once; None where address and password don't match."""
    row = connection.execute(
        text(f"SELECT {_COLUMNS}, o.password_hash FROM operators o WHERE lower(o.email) = lower(:email)"),
        {"email": email},
    ).one_or_none()
    matches = is_password(password[:LONGEST], None if row is None else row.password_hash)
    if row is None or not matches or not row.enabled:
        return None
    if is_outdated(row.password_hash):
        connection.execute(
            text("UPDATE operators SET password_hash = :hash WHERE id = :number"),
            {"hash": hash_password(password), "number": row.number},
        )
    secret = secrets.token_urlsafe(_SECRET_BYTES)
    connection.execute(
        text(
            "INSERT INTO operator_sessions (secret_sha256, operator_id, expires_at)"
            " VALUES (:hash, :number, now() + make_interval(secs => :lasts))"
        ),
        {"hash": _hashed(secret), "number": row.number, "lasts": SESSION_S},
    )
    connection.execute(text("UPDATE operators SET seen_at = now() WHERE id = :number"), {"number": row.number})
    connection.execute(text("DELETE FROM operator_sessions WHERE expires_at < now()"))
    return _view(row), secret


def opens(connection: Connection, *, email: str, password: str) -> bool:
    """Whether an enabled operator has that address and password; nobody is signed in by asking."""
    row = connection.execute(
        text("SELECT password_hash, enabled FROM operators WHERE lower(email) = lower(:email)"), {"email": email}
    ).one_or_none()
    return is_password(password[:LONGEST], None if row is None else row.password_hash) and bool(row and row.enabled)


_OF_SECRET = text(f"""
SELECT {_COLUMNS}, s.notice, s.seen_at < now() - interval '1 minute' AS stale
  FROM operator_sessions s JOIN operators o ON o.id = s.operator_id
 WHERE s.secret_sha256 = :hash AND s.expires_at > now() AND s.seen_at > now() - make_interval(secs => :idle)
   AND o.enabled
""")


def of_secret(connection: Connection, secret: str) -> tuple[OperatorView, str | None] | None:
    """Who is signed in with that secret, and the notice that waits for the next page; None for nobody."""
    row = connection.execute(_OF_SECRET, {"hash": _hashed(secret), "idle": IDLE_S}).one_or_none()
    if row is None:
        return None
    if row.stale:
        connection.execute(
            text("UPDATE operator_sessions SET seen_at = now() WHERE secret_sha256 = :hash"), {"hash": _hashed(secret)}
        )
    return _view(row), row.notice


def tell(connection: Connection, secret: str, notice: str | None) -> None:
    """What the next page of that session says first."""
    connection.execute(
        text("UPDATE operator_sessions SET notice = :notice WHERE secret_sha256 = :hash"),
        {"hash": _hashed(secret), "notice": notice},
    )


def sign_out(connection: Connection, secret: str) -> None:
    """End the session."""
    connection.execute(text("DELETE FROM operator_sessions WHERE secret_sha256 = :hash"), {"hash": _hashed(secret)})


def _hashed(secret: str) -> bytes:
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def _view(row: Row[Any]) -> OperatorView:
    return OperatorView(
        number=row.number,
        id=row.public_id,
        email=row.email,
        name=row.name,
        role=OperatorRole(row.role),
        enabled=row.enabled,
        seen_at=row.seen_at,
        created_at=row.created_at,
    )
