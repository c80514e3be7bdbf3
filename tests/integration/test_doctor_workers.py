"""How `messaging doctor` hears who is alive: a real worker, that nobody asks anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from messaging.channel import Channel
from messaging.doctor import machine, redis_server, workers
from messaging.doctor.finding import State
from tests.integration.worker_process import Worker


@pytest.fixture
def worker(postgres_url: str, valkey_url: str, tmp_path: Path) -> Iterator[Worker]:
    """The Procfile's worker for pushes somebody waits for, on a second machine of that name."""
    started = Worker(
        tmp_path,
        "push-high-2",
        queues="messaging.push.high",
        pool="-P threads -c 1",
        database_url=postgres_url,
        broker_url=valkey_url,
    )
    yield started
    started.close()


@pytest.mark.slow  # `tests/acceptance/test_doctor.py` hears those of a whole stack each time
def test_a_worker_is_heard_and_one_that_died_is_missed(worker: Worker, valkey_url: str) -> None:
    """By its own name, while it lives."""
    worker.until(lambda: worker.is_ready, "it is not ready")
    with redis_server.client(valkey_url) as redis:
        nodes = workers.heartbeats(redis, wanted=["push-high"], listen_s=30)
        assert [node.partition("@")[0] for node in nodes] == ["push-high-2"]
        reading = workers.readers(nodes)
        assert [queue for queue, count in reading.items() if count] == ["messaging.push.high"]
        found = workers.covered(reading, {Channel.PUSH}, [], nodes)
        assert (found.state, "messaging.push.high" in found.found) == (State.BROKEN, False)
        worker.close()
        assert workers.heartbeats(redis, listen_s=2.5) == set()


def test_a_page_that_does_not_answer_is_broken() -> None:
    """With the kind of the error, not the address, which may hold a password."""
    found = machine.answers("Flower", "http://admin:password@127.0.0.1:1/healthcheck")
    assert (found.state, "password" in found.found) == (State.BROKEN, False)
