"""One stack for all pages, its project empty at the beginning of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from messaging.client.messaging import Messaging
from tests.acceptance.stack import UNHURT, Stack, running
from tests.acceptance.sums import clear_faults
from tests.docs.session import Session, environment


@pytest.fixture(scope="session")
def docs_stack() -> Iterator[Stack]:
    """`messaging up --sandbox`, as the pages say, with pauses of seconds instead of minutes."""
    with running("--sandbox", **UNHURT) as started:
        started.ready()
        yield started


@pytest.fixture
def session(docs_stack: Stack, tmp_path: Path) -> Iterator[Session]:
    """A session in an empty folder where `data` is the stack's."""
    (tmp_path / "data").symlink_to(docs_stack.directory)
    with docs_stack.client() as client:
        _empty(client)
    with psycopg.connect(docs_stack.runtime.database_url, autocommit=True) as connection:
        _free_names(connection)
    opened = Session(tmp_path, environment())
    yield opened
    opened.close()
    clear_faults(docs_stack.sandbox["control"])


def _free_names(connection: psycopg.Connection) -> None:
    """Ids and keys that pages give their messages are free again: several call theirs alike."""
    # each by itself: workers may still be at some of them, and hold one while they wait for another
    rows = connection.execute("SELECT id FROM messages WHERE public_id NOT LIKE 'of-another-page-%'").fetchall()
    for (number,) in rows:
        connection.execute("UPDATE messages SET public_id = 'of-another-page-' || id WHERE id = %s", (number,))
    connection.execute("DELETE FROM intake_keys")
    connection.execute("DELETE FROM http_answers")


def _empty(client: Messaging) -> None:
    """Nothing of the page before is left but its messages."""
    for provider in client.providers.list(limit=1000):
        client.providers.delete(provider.id)
    for topic in client.topics.list(limit=1000):
        client.topics.delete(topic.id)
    for user in client.users.list(limit=1000):
        client.users.delete(user.id)
    for target in client.targets.list(limit=1000):
        client.targets.delete(target.id)
    for entry in client.suppressions.list(limit=1000):
        client.suppressions.lift(entry.id)
