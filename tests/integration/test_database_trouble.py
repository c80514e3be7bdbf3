"""What PostgreSQL refuses for now is told apart from what is wrong, and the connections are good afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue

import psycopg
import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from messaging.settings import Settings
from messaging.store.engine import AWAY, open_engine
from tests.acceptance.stack import until
from tests.integration.http.api import running_api


@pytest.fixture
def engine(postgres_url: str, valkey_url: str) -> Iterator[Engine]:
    """As every process opens it, with two connections at most."""
    settings = Settings.load({}, database_url=postgres_url, broker_url=valkey_url, secret_key="k" * 32)
    made = open_engine(settings, role="trouble", pool_size=1)
    with made.begin() as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS trouble (id int PRIMARY KEY, value int)"))
        connection.execute(text("INSERT INTO trouble VALUES (1, 0), (2, 0) ON CONFLICT DO NOTHING"))
    yield made
    made.dispose()


def read_only(connection: Connection, _: Engine) -> None:
    """A primary that became a replica."""
    connection.execute(text("SET TRANSACTION READ ONLY"))
    connection.execute(text("UPDATE trouble SET value = 1"))


def slow_statement(connection: Connection, _: Engine) -> None:
    """The operator's statement_timeout."""
    connection.execute(text("SET LOCAL statement_timeout = 20"))
    connection.execute(text("SELECT pg_sleep(5)"))


def slow_transaction(connection: Connection, _: Engine) -> None:
    """The operator's transaction_timeout, which ends the session."""
    connection.execute(text("SET LOCAL transaction_timeout = 50"))
    connection.execute(text("SELECT pg_sleep(5)"))


def ended_by_an_operator(connection: Connection, _: Engine) -> None:
    """A session ended from outside."""
    connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    connection.execute(text("SELECT 1"))


def locked(connection: Connection, engine: Engine) -> None:
    """A lock that somebody else holds for longer than lock_timeout."""
    with engine.begin() as other:
        other.execute(text("UPDATE trouble SET value = 2 WHERE id = 1"))
        connection.execute(text("SET LOCAL lock_timeout = 20"))
        connection.execute(text("UPDATE trouble SET value = 3 WHERE id = 1"))


def serialized(connection: Connection, engine: Engine) -> None:
    """Somebody else was quicker."""
    connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
    connection.execute(text("SELECT * FROM trouble"))
    with engine.begin() as other:
        other.execute(text("UPDATE trouble SET value = 4 WHERE id = 1"))
    connection.execute(text("UPDATE trouble SET value = 5 WHERE id = 1"))


def deadlocked(connection: Connection, engine: Engine) -> None:
    """Two that wait for each other; PostgreSQL chooses one."""
    connection.execute(text("SET LOCAL deadlock_timeout = 20"))
    connection.execute(text("UPDATE trouble SET value = 6 WHERE id = 1"))
    others = Queue[int]()

    def other() -> None:
        with engine.begin() as theirs:
            theirs.execute(text("SET LOCAL deadlock_timeout = 60000"))
            theirs.execute(text("UPDATE trouble SET value = 7 WHERE id = 2"))
            others.put(theirs.execute(text("SELECT pg_backend_pid()")).scalar_one())
            theirs.execute(text("UPDATE trouble SET value = 7 WHERE id = 1"))

    thread = threading.Thread(target=other)
    thread.start()
    try:
        pid = {"pid": others.get(timeout=60)}
        # who looks for a deadlock does it once: it must be there by then
        waits = text("SELECT pg_backend_pid() = ANY(pg_blocking_pids(:pid))")
        until(lambda: connection.execute(waits, pid).scalar_one(), "the other does not wait for us")
        connection.execute(text("UPDATE trouble SET value = 6 WHERE id = 2"))
    finally:
        connection.rollback()
        thread.join(60)


@pytest.mark.parametrize(
    "trouble", [read_only, slow_statement, slow_transaction, ended_by_an_operator, locked, serialized, deadlocked]
)
def test_trouble_that_passes_is_called_away_and_the_next_transaction_works(
    engine: Engine, trouble: Callable[[Connection, Engine], None]
) -> None:
    """On this process's own connections: one that is of no use any more is replaced."""
    with pytest.raises(AWAY), engine.begin() as connection:
        trouble(connection, engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE trouble SET value = value + 1 WHERE id = 1"))


def test_a_mistake_of_ours_is_not_trouble_that_passes(engine: Engine) -> None:
    """Trying again would never end."""
    with pytest.raises(DBAPIError) as raised, engine.begin() as connection:
        connection.execute(text("SELECT * FROM no_such_table"))
    assert isinstance(raised.value, ProgrammingError)
    assert not isinstance(raised.value, AWAY)


def test_a_process_whose_connections_are_all_taken_is_no_mistake_either(engine: Engine) -> None:
    """The pool says so after a while."""
    engine.pool._timeout = 0.05  # type: ignore[attr-defined]  # half a minute otherwise
    with engine.connect(), engine.connect(), pytest.raises(AWAY) as raised, engine.connect():
        pass
    assert isinstance(raised.value, PoolTimeoutError)


@contextmanager
def taking_no_writes(database_url: str) -> Iterator[None]:
    """The database as a replica serves it, for who connects from now on."""
    with psycopg.connect(database_url, autocommit=True) as ours:
        name = ours.info.dbname
        ours.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        ours.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            [name],
        )
        try:
            yield
        finally:
            ours.execute(f'ALTER DATABASE "{name}" RESET default_transaction_read_only')


def test_the_api_says_to_come_again_while_the_database_takes_no_writes(postgres_url: str, valkey_url: str) -> None:
    """503 with a time, nothing kept; and 201 as soon as it takes writes again, though the connections were open."""
    with running_api(postgres_url, valkey_url) as api:
        api.ok("POST", "/users", {"userId": "before"})
        with taking_no_writes(postgres_url):
            answer = api.call("POST", "/users", {"userId": "during"})
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
            api.ok("GET", "/users/before")
        assert api.refused("GET", "/users/during")[0] == 404
        until(lambda: api.call("POST", "/users", {"userId": "during"}).status_code == 201, "it takes writes again")
