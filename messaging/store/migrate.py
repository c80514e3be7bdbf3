"""Bring a database's schema up to date."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import NullPool, create_engine, text

from messaging.settings import sqlalchemy_url
from messaging.store.partitions import ensure_partitions

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x6865_6C69
"""Advisory lock: two processes that start together migrate one after the other."""


def upgrade(database_url: str, revision: str = "head") -> None:
    """Migrate `database_url` to `revision` and make sure the partitions of the coming months exist."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = create_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
            ensure_partitions(connection)
    finally:
        engine.dispose()
