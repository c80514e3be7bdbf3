"""The first operator of a stack's console: made where there is none, with a password in a file of its own."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import NullPool, create_engine

from messaging.local.private_files import kept_secret
from messaging.settings import sqlalchemy_url
from messaging.store import audit, operators
from messaging.store.operators import OperatorRole

if TYPE_CHECKING:
    from pathlib import Path

EMAIL = "operator@heliograph.test"
FILE_NAME = "console.password"


@dataclass(frozen=True, slots=True)
class ConsoleSignIn:
    """How one signs in to the console of a stack."""

    email: str
    password: str = field(repr=False)
    is_new: bool
    """It was made just now."""


def console_sign_in(directory: Path, *, database_url: str) -> ConsoleSignIn | None:
    """How to sign in, from `directory`/console.password (mode 0600); an operator is made where there is none.

    None where others are, and that password opens nothing: somebody changed it, or the database is another stack's.
    """
    path = directory / FILE_NAME
    engine = create_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            if operators.any_exist(connection):
                if not path.exists():
                    return None
                password = kept_secret(path)
                opens = operators.opens(connection, email=EMAIL, password=password)
                return ConsoleSignIn(EMAIL, password, is_new=False) if opens else None
            password = kept_secret(path, lambda: secrets.token_urlsafe(18))
            made = operators.create(connection, email=EMAIL, password=password, role=OperatorRole.ADMIN)
            audit.note(connection, operator="messaging up", action="operator.create", subject=made.id)
            return ConsoleSignIn(EMAIL, password, is_new=True)
    finally:
        engine.dispose()
