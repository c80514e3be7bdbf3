"""What `messaging doctor` says of a database, hurt for real."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, Engine, text

from messaging.doctor import database, secrets
from messaging.doctor.finding import State
from messaging.settings import Settings
from messaging.store import projects, providers, vault_keys
from messaging.store.engine import open_engine
from messaging.store.partitions import partition_name
from messaging.vault import MasterKey, Vault
from tests.integration.road import SECRET

OTHER = "another secret key of an installation"


def settings(url: str) -> Settings:
    """Of that database."""
    return Settings.load({}, database_url=url, broker_url="memory://", secret_key=SECRET)


@pytest.fixture
def engine(postgres_url: str) -> Iterator[Engine]:
    """Of the module's database."""
    opened = open_engine(settings(postgres_url), role="test")
    yield opened
    opened.dispose()


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """In a transaction that is rolled back: the damage is gone afterwards."""
    with engine.connect() as opened:
        yield opened


def test_a_healthy_database_is_ok(engine: Engine) -> None:
    """But for what the tests' server does without, to be quicker."""
    found = {each.check: each for each in (database.reach(engine), *database.examine(engine))}
    assert {name for name, each in found.items() if each.state is not State.OK} == {"durability"}
    assert "fsync" in found["durability"].found
    assert found["database"].found.startswith("PostgreSQL 1")


def test_a_database_that_is_away_is_broken(engine: Engine) -> None:
    """Nobody listens, or there is no such database; its password is not repeated."""
    for url in ("postgresql://somebody:password@127.0.0.1:1/none", str(engine.url.set(database="none"))):
        away = open_engine(settings(url), role="test")
        found = database.reach(away)
        away.dispose()
        assert found.state is State.BROKEN
        assert "password@" not in found.found
        assert found.advice


def test_old_tables_are_broken(connection: Connection) -> None:
    """Older, newer than we know, or none at all: each with what to do."""
    connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    old = database.schema(connection)
    assert (old.state, "messaging migrate" in old.advice) == (State.BROKEN, True)
    connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "does not know" in database.schema(connection).found
    connection.execute(text("ALTER TABLE alembic_version RENAME TO gone"))
    assert database.schema(connection).found == "has no tables"


def test_missing_months_are_told(connection: Connection) -> None:
    """The next month's is a warning; without this month's nothing can be sent."""
    this, following = connection.execute(
        text("""SELECT date_trunc('month', now() AT TIME ZONE 'UTC')::date,
                       (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month')::date""")
    ).one()
    connection.execute(text(f"DROP TABLE {partition_name('deliveries', following)}"))
    assert database.partitions(connection).state is State.WARNING
    connection.execute(text(f"DROP TABLE {partition_name('batches', this)}"))
    found = database.partitions(connection)
    assert found.state is State.BROKEN
    assert partition_name("batches", this) in found.found


def test_too_few_connections_are_told(connection: Connection) -> None:
    """A server that takes fewer than the pools may open."""
    assert database.connections(connection).state is State.OK
    assert database.connections(connection, needed=10_000).state is State.WARNING


def test_a_clock_that_is_off_is_told(connection: Connection) -> None:
    """By how much, and in which direction."""
    assert database.clock(connection).state is State.OK
    behind = database.clock(connection, now_s=lambda: time.time() - 600)
    assert (behind.state, "10 min behind" in behind.found) == (State.WARNING, True)


def test_commits_that_do_not_wait_for_the_disk_are_broken(connection: Connection) -> None:
    """Named by the setting."""
    connection.execute(text("SET LOCAL synchronous_commit = off"))
    assert "synchronous_commit" in database.durability(connection).found


def test_no_autovacuum_is_broken(connection: Connection) -> None:
    """It does not run either where nobody counts for it, which is easier to bring about here."""
    assert database.autovacuum(connection).state is State.OK
    connection.execute(text("SET LOCAL track_counts = off"))
    assert database.autovacuum(connection).state is State.BROKEN


def test_a_transaction_left_open_is_told(connection: Connection, engine: Engine) -> None:
    """With the process that keeps it."""
    with engine.connect() as forgotten:
        pid = forgotten.execute(text("SELECT pg_backend_pid()")).scalar_one()
        assert database.long_transactions(connection).state is State.OK
        found = database.long_transactions(connection, longest_s=0)
    assert found.state is State.WARNING
    assert f"pg_terminate_backend({pid})" in found.advice


def test_a_check_that_cannot_be_made_is_skipped(engine: Engine) -> None:
    """And the others are made."""
    with engine.connect() as connection:
        connection.execute(text("ALTER TABLE alembic_version RENAME COLUMN version_num TO gone"))
        connection.commit()
    try:
        found = {each.check: each.state for each in database.examine(engine)}
    finally:
        with engine.connect() as connection:
            connection.execute(text("ALTER TABLE alembic_version RENAME COLUMN gone TO version_num"))
            connection.commit()
    assert found["schema"] is State.SKIPPED
    assert found["partitions"] is State.OK


def test_another_secret_key_is_broken(engine: Engine) -> None:
    """As soon as anything is sealed; while keys change, it says how to go on."""
    assert secrets.secret_key(engine, SECRET).state is State.OK
    with engine.begin() as connection:
        project = projects.ensure(connection, "default")
        providers.create(
            connection,
            Vault(SECRET),
            project,
            kind="twilio",
            provider_id="texts",
            credentials={"accountSid": "AC" + "0" * 32, "authToken": "secret"},
        )
    assert "opens 1 secrets" in secrets.secret_key(engine, SECRET).found
    wrong = secrets.secret_key(engine, OTHER)
    assert (wrong.state, wrong.advice != "") == (State.BROKEN, True)
    assert secrets.secret_key(engine, "short").state is State.BROKEN
    with engine.begin() as connection:
        vault_keys.begin(connection, MasterKey(SECRET), MasterKey(OTHER))
    assert secrets.secret_key(engine, SECRET).state is State.WARNING
    assert secrets.secret_key(engine, "a third secret key, which nobody knows").state is State.BROKEN
