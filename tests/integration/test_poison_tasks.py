"""Tasks that end the process that takes them in: put aside, replayable, and nobody waits behind them for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import text

from messaging.store import quarantine
from messaging.store.lists import Wanted
from tests.acceptance import bare
from tests.integration.road import Road
from tests.integration.worker_process import Worker

HEALTHY = 30
LOST = "exited with 'signal"
"""As the pool says it of each of its processes."""


@pytest.fixture
def intake(road: Road, postgres_url: str, valkey_url: str, tmp_path: Path, poison: str) -> Iterator[Worker]:
    """A real intake worker with two processes, which ends a task that takes two seconds where one never ends."""
    road.add_push_targets(1, provider=road.add_provider("apns", "apns"))
    worker = Worker(
        tmp_path,
        "intake",
        queues="messaging.high,messaging",
        pool="-c 2",
        database_url=postgres_url,
        broker_url=valkey_url,
        # elsewhere it would end healthy ones too: the first of a process connects to everything
        **({"MESSAGING_TASK_LIMIT_S": "2"} if poison == "loop" else {}),
    )
    yield worker
    worker.close()


def messages(road: Road) -> set[str]:
    """Ids of the messages there are."""
    with road.engine.begin() as connection:
        return set(connection.execute(text("SELECT public_id FROM messages")).scalars())


def in_quarantine(road: Road) -> dict[str, str]:
    """Entry by the id of its task."""
    with road.engine.begin() as connection:
        found = quarantine.listed(connection, road.project_id, Wanted()).entries
    return {str(entry.task_id): entry.id for entry in found}


@pytest.mark.timeout(600)  # a pool may take seconds to notice each death
@pytest.mark.parametrize("poison", ["segv", pytest.param("loop", marks=pytest.mark.slow)])
def test_a_poison_task_is_put_aside_and_the_others_go_on(
    road: Road, intake: Worker, valkey_url: str, poison: str
) -> None:
    """It ends three processes of the pool, none of the worker; it leaves the queue, and every other is a message."""

    def send(app: Any, title: str) -> str:
        task = app.send_task(bare.PUSH, kwargs={"title": title, "targets": ["t0"]}, queue=bare.QUEUE)
        return str(task.id)

    with bare.producer(valkey_url) as app:
        before = [send(app, "Hello") for _ in range(HEALTHY // 2)]
        deadly = send(app, poison)
        after = [send(app, "Hello") for _ in range(HEALTHY // 2)]
    intake.until(lambda: in_quarantine(road), "it was not put aside")
    intake.until(lambda: len(messages(road)) == HEALTHY, "the others were not taken in")
    assert in_quarantine(road).keys() == {deadly}
    assert messages(road) == {*before, *after}
    assert intake.process.poll() is None
    assert "ends its worker was put aside" in intake.log

    with redis.Redis.from_url(valkey_url) as broker:
        intake.until(lambda: not broker.llen("messaging") and not broker.hlen("unacked"), "the queue is not empty")
    with road.engine.begin() as connection:
        entry = in_quarantine(road)[deadly]
        hints = quarantine.replay(connection, road.project_id, entry, expires_in_s=60).hints
    lost = intake.log.count(LOST)
    road.publisher.publish(hints)
    intake.until(lambda: intake.log.count(LOST) > lost, "the replay ended no process")
    assert in_quarantine(road) == {deadly: entry}, "it stays there"
