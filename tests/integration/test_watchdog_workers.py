"""Real workers that stand still end themselves and say why; those that only have nothing to do live on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.batches import Hint
from messaging.wire import Queue, TaskName
from tests.integration.road import SECRET
from tests.integration.worker_process import Worker
from workers.watchdog import EXIT_CODE

LIMIT_S = 2.0
IDLE_LIMIT_S = 8.0
"""Of the one that is to live on: a busy machine may stand still for a few seconds."""
pytestmark = pytest.mark.timeout(600)  # five workers begin at once, which takes a busy machine a minute


@pytest.fixture(scope="module")
def workers(
    tmp_path_factory: pytest.TempPathFactory, postgres_url: str, valkey_url: str
) -> Iterator[dict[str, Worker]]:
    """Five of them, each hurt in its way, begun at once so that they are waited for together."""
    directory = tmp_path_factory.mktemp("workers")

    def begun(name: str, queue: Queue, pool: str, limit_s: float = LIMIT_S) -> Worker:
        return Worker(
            directory,
            name,
            queues=queue,
            pool=pool,
            database_url=postgres_url,
            broker_url=valkey_url,
            HURT=name,
            MESSAGING_WATCHDOG_S=str(limit_s),
        )

    made = {
        "loop": begun("loop", Queue.PUSH, "-P threads -c 1"),
        "interpreter": begun("interpreter", Queue.SMS, "-P threads -c 1"),
        "consumer": begun("consumer", Queue.EMAIL, "-P threads -c 1"),
        "children": begun("children", Queue.FANOUT, "-c 1"),
        "idle": begun("idle", Queue.SMS_HIGH, "-P threads -c 1", IDLE_LIMIT_S),
    }
    settings = Settings.load({}, database_url=postgres_url, broker_url=valkey_url, secret_key=SECRET)
    # Earlier it would take the task, and have nothing more to do.
    made["consumer"].until(lambda: "stands still from now on" in made["consumer"].log, "it did not stand still")
    with closing(Publisher(settings)) as publisher:
        publisher.publish([Hint(queue=Queue.EMAIL, shadow="none", task=TaskName.DELIVER, argument="202611-1")])
    yield made
    for worker in made.values():
        worker.close()


def test_one_whose_event_loop_stands_still_ends(workers: dict[str, Worker]) -> None:
    """With an exit code of its own, the reason, and where every thread stood."""
    assert workers["loop"].ended_with() == EXIT_CODE
    assert "event loop has not answered" in workers["loop"].log
    assert "Current thread" in workers["loop"].log


def test_one_that_reads_nothing_although_there_is_work_ends(workers: dict[str, Worker]) -> None:
    """Its connection is open, its process well."""
    assert workers["consumer"].ended_with() == EXIT_CODE
    assert "no task was begun or ended" in workers["consumer"].log


def test_one_whose_interpreter_is_held_ends(workers: dict[str, Worker]) -> None:
    """No thread of it runs any more, the watchdog's neither."""
    assert workers["interpreter"].ended_with() not in {0, None}
    assert "Timeout (0:00:0" in workers["interpreter"].log


def test_a_child_that_stands_still_is_replaced(workers: dict[str, Worker]) -> None:
    """The worker itself lives on."""
    worker = workers["children"]
    worker.until(lambda: worker.is_ready and worker.children, "it was not ready")
    (child,) = worker.children
    time.sleep(LIMIT_S / 2)  # it has said that it lives
    os.kill(child, signal.SIGSTOP)
    worker.until(lambda: worker.children and child not in worker.children, "the child was not replaced")
    assert worker.process.poll() is None
    assert "stands still and is ended" in worker.log


def test_one_that_has_nothing_to_do_lives_on(workers: dict[str, Worker], valkey_url: str) -> None:
    """It marks its file as it looks, for whoever probes it; its queue is empty."""
    worker = workers["idle"]
    worker.until(lambda: worker.is_ready, "it was not ready")
    before = worker.ready_file.stat().st_mtime
    worker.until(lambda: worker.ready_file.stat().st_mtime > before + IDLE_LIMIT_S, "it did not mark its file")
    assert worker.process.poll() is None
    with redis.Redis.from_url(valkey_url) as broker:
        assert broker.llen(Queue.SMS_HIGH) == 0


def test_one_that_is_asked_to_stop_stops(workers: dict[str, Worker]) -> None:
    """Twice, for good measure: the second asking changes nothing."""
    worker = workers["idle"]
    worker.until(lambda: worker.is_ready, "it was not ready")
    for _ in range(2):
        os.kill(worker.process.pid, signal.SIGTERM)
    assert worker.ended_with() == 0
    assert not worker.ready_file.exists()
