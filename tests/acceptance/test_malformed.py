"""Bodies that are no task at all, put into our queue by whoever can reach the broker. The stack is this file's own."""

from __future__ import annotations

import secrets
from collections.abc import Iterator

import psycopg
import pytest

from messaging.status import MessageState
from tests.acceptance import bare
from tests.acceptance.accounts import apns_tokens, configure
from tests.acceptance.stack import UNHURT, Stack, running, until

pytestmark = pytest.mark.timeout(600)

BODIES = (
    "{not json",
    b"\xff\xfe\x00",
    "",
    "42",
    "null",
    '"text"',
    "{}",
    "[]",
    "[[], {}]",
    '["a", "b", "c"]',
    "[[], [], {}]",
    "[[], {}, 7]",
)


@pytest.fixture(scope="module")
def alone() -> Iterator[Stack]:
    """A stack that a bad body may bring down without harm to other tests."""
    with running("--sandbox", **UNHURT) as started:
        with started.client() as client:
            configure(client, started.sandbox)
        yield started


def kept(stack: Stack, task_ids: set[str]) -> set[str]:
    """Those of the tasks that are a failed message, or a refusal."""
    with psycopg.connect(stack.runtime.database_url) as connection:
        rows = connection.execute(
            """SELECT public_id FROM messages WHERE public_id = ANY(%(ids)s) AND failure IS NOT NULL
               UNION SELECT task_id FROM refusals WHERE task_id = ANY(%(ids)s)""",
            {"ids": list(task_ids)},
        )
        return {row[0] for row in rows}


def test_a_body_that_is_no_task_kills_no_worker_and_is_counted(alone: Stack) -> None:
    """Each is a failed message or a refusal under its task id; the next proper task is taken by the same worker."""
    intake = alone.runtime.processes["intake"]
    sent = {secrets.token_hex(8): body for body in BODIES}
    for task_id, body in sent.items():
        bare.publish(alone.runtime.broker_url, body, task=bare.PUSH, id=task_id)
    with alone.client() as client, bare.producer(alone.runtime.broker_url) as app:
        target = client.targets.create(apns_tokens(1)[0], provider_id="apns").id
        after = app.send_task(bare.PUSH, kwargs={"title": "After", "targets": [target]}, queue=bare.QUEUE)
        until(
            lambda: any(view.id == after.id for view in client.list()),
            lambda: f"the task after them was not taken\n{alone.tail('intake', 'up')}",
        )
        assert client.wait(str(after.id), 120).state is MessageState.SENT
    until(
        lambda: kept(alone, set(sent)) == set(sent),
        lambda: f"vanished: {[body for task_id, body in sent.items() if task_id not in kept(alone, set(sent))]}",
    )
    assert alone.runtime.processes["intake"] == intake


def test_a_message_without_a_task_or_an_id_kills_no_worker(alone: Stack) -> None:
    """It can't be named, so it is only logged; the next proper task is taken by the same worker."""
    intake = alone.runtime.processes["intake"]
    bare.publish(alone.runtime.broker_url, "[[], {}, {}]", id="without-a-task")
    bare.publish(alone.runtime.broker_url, "[[], {}, {}]", task=bare.PUSH)
    with alone.client() as client, bare.producer(alone.runtime.broker_url) as app:
        target = client.targets.create(apns_tokens(1)[0], provider_id="apns").id
        after = app.send_task(bare.PUSH, kwargs={"title": "After", "targets": [target]}, queue=bare.QUEUE)
        until(
            lambda: any(view.id == after.id for view in client.list()),
            lambda: f"the task after them was not taken\n{alone.tail('intake', 'up')}",
        )
        assert client.wait(str(after.id), 120).state is MessageState.SENT
    assert alone.runtime.processes["intake"] == intake
