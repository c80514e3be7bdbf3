"""The schema moves forward and back, with what an installation has in it."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, NullPool, create_engine, text

from messaging.local.postgres import Postgres
from messaging.settings import sqlalchemy_url
from messaging.store.migrate import MIGRATIONS, upgrade
from messaging.store.partitions import PARTITIONED

_LAST_MONTH = "2020_01"


@pytest.fixture
def database_url(postgres_server: Postgres) -> Iterator[str]:
    """An empty database."""
    name = f"migrated_{secrets.token_hex(6)}"
    yield postgres_server.create_database(name)
    postgres_server.drop_database(name)


def moved(database_url: str, *steps: str) -> None:
    """Take the schema through these revisions, one after the other; back where a step begins with `-`."""
    engine = create_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    with engine.begin() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        for step in steps:
            (command.downgrade if step.startswith("-") else command.upgrade)(config, step.removeprefix("-"))


def schema(connection: Connection) -> set[tuple[str, str, str]]:
    """Every column of every table that is no partition."""
    rows = connection.execute(
        text("""SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod) FROM pg_class c
                  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition""")
    )
    return {(row.relname, row.attname, row.format_type) for row in rows}


def test_every_step_back_leads_forward_again_to_the_same_schema(database_url: str) -> None:
    """From nothing to the newest, back by one step at a time, and forward again."""
    engine = create_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    upgrade(database_url)
    with engine.begin() as connection:
        before = schema(connection)
        newest = int(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    assert len(before) > 300
    moved(database_url, *(f"-{step:04}" for step in range(newest - 1, 1, -1)))
    with engine.begin() as connection:
        assert schema(connection) < before
    upgrade(database_url)
    with engine.begin() as connection:
        assert schema(connection) == before


def test_a_month_that_has_deliveries_has_a_partition_of_every_table_after_an_upgrade(database_url: str) -> None:
    """What a newer version writes about an older month has its place."""
    moved(database_url, "0011")
    engine = create_engine(sqlalchemy_url(database_url), poolclass=NullPool)
    with engine.begin() as connection:
        for table in ("batches", "deliveries", "delivery_events", "provider_message_ids"):
            connection.execute(
                text(
                    f"CREATE TABLE {table}_{_LAST_MONTH} PARTITION OF {table}"
                    " FOR VALUES FROM ('2020-01-01') TO ('2020-02-01')"
                )
            )
    upgrade(database_url)
    with engine.begin() as connection:
        found = connection.execute(
            text("SELECT relname FROM pg_class WHERE relkind = 'r' AND relname LIKE :name"),
            {"name": f"%\\_{_LAST_MONTH}"},
        ).scalars()
        assert set(found) == {f"{table}_{_LAST_MONTH}" for table in PARTITIONED}
