"""The first project and its API key, for a stack that starts on an empty database."""

from __future__ import annotations

from sqlalchemy import NullPool, create_engine

from messaging.settings import sqlalchemy_url
from messaging.store import api_keys, projects

DEFAULT_PROJECT = "default"


def first_project(database_url: str, secret_key: str, *, project: str = DEFAULT_PROJECT) -> tuple[str, str]:
    """(project id, secret of a new API key) on a migrated database.

    Only the key's hash is stored, so the caller keeps the secret and asks once. `secret_key` is checked
    here, so that a stack doesn't start with one that is too short: raises `SettingsError`.
    """
    from messaging.vault import Vault  # noqa: PLC0415  cryptography is not needed to import this module

    Vault(secret_key)
    engine = create_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            number = projects.ensure(connection, project)
            _, secret = api_keys.create(connection, number, name="first key")
            return project, secret
    finally:
        engine.dispose()
