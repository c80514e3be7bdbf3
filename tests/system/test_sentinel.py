"""Redis Sentinel: when the master is killed, everything goes on with the server that took over."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from messaging.http.health import check_all
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.batches import Hint
from messaging.wire import Queue, TaskName
from tests.conftest import ROOT
from tests.integration.road import SECRET
from tests.system.programs import end
from tests.system.sentinel import MASTER, Watched, watched
from workers.pace import Pace
from workers.pacing import RedisPacer

pytestmark = pytest.mark.timeout(900)

_LONG_S = 150.0


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Watched]:
    """Two servers and three Sentinels."""
    with watched(tmp_path) as found:
        yield found


@pytest.fixture
def settings(servers: Watched, postgres_url: str) -> Settings:
    """As an installation over these has them."""
    return Settings.load(
        {},
        database_url=postgres_url,
        broker_url=servers.url,
        secret_key=SECRET,
        sentinel_master=MASTER,
        sentinel_password=servers.sentinel_password,
    )


def test_hints_health_and_pacing_find_the_new_master(settings: Settings, servers: Watched) -> None:
    """Nobody is started again, and nobody is told."""
    hint = Hint(queue=Queue.RECEIPTS, shadow="receipts", task=TaskName.RECEIPTS)
    slow = Pace(per_second=0.001)  # the first of an account at once, and no other while this runs
    accounts = count(1)

    async def paced() -> int:
        pacer, account = RedisPacer(settings.pacing_url or ""), next(accounts)
        try:
            granted = [await pacer.reserve(account, 1, pace=slow, high=True) for _ in range(3)]
            return sum(grant.granted for grant in granted)
        finally:
            await pacer.aclose()

    def is_paced() -> bool:
        return asyncio.run(paced()) == 1  # and not 3, as where no Redis answers in time

    with Publisher(settings) as publisher:
        assert publisher.publish([hint])
        _until(lambda: publisher.waiting([Queue.RECEIPTS]) == 1, "the hint lies in its queue")
        _until(is_paced, "an account is paced")
        servers.kill_the_master()
        _until(lambda: publisher.publish([hint]), "a hint is taken by the new master")
        _until(lambda: (publisher.waiting([Queue.RECEIPTS]) or 0) >= 1, "it lies in its queue")
        _until(is_paced, "an account is paced by the new master")
        _until(
            lambda: [check.reason for check in asyncio.run(check_all(settings))] == [None, None],
            "everything is well with the new master",
        )


def test_a_worker_goes_on_with_the_new_master(settings: Settings, servers: Watched, tmp_path: Path) -> None:
    """It waits for the fail-over, reads from the server that took over, and does not have to be started again."""
    log, ready = tmp_path / "worker.log", tmp_path / "ready"
    own = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "workers.app", "worker", "-Q", Queue.RECEIPTS),
                *("-n", "receipts@%h", "-P", "threads", "-c", "1"),
                *("--without-gossip", "--without-mingle", "-l", "INFO"),
            ],
            cwd=ROOT,
            env=own
            | {
                "MESSAGING_DATABASE_URL": settings.database_url.get_secret_value(),
                "MESSAGING_BROKER_URL": servers.url,
                "MESSAGING_SECRET_KEY": SECRET,
                "MESSAGING_SENTINEL_MASTER": MASTER,
                "MESSAGING_SENTINEL_PASSWORD": servers.sentinel_password,
                "MESSAGING_READY_FILE": str(ready),
            },
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    hint = Hint(queue=Queue.RECEIPTS, shadow="receipts", task=TaskName.RECEIPTS)
    try:
        with Publisher(settings) as publisher:

            def done() -> bool:
                """Every hint that was published is taken and acknowledged."""
                with suppress(OSError, RedisError), servers.connect() as client:
                    return publisher.waiting([Queue.RECEIPTS]) == 0 and not client.hlen("unacked")
                return False

            _until(ready.exists, "the worker is ready", log)
            assert publisher.publish([hint] * 3)
            _until(done, "the hints are done", log)
            servers.kill_the_master()
            assert worker.poll() is None, log.read_text()
            _until(lambda: publisher.publish([hint]), "a hint is taken by the new master", log)
            _until(done, "the worker took it from there", log)
            assert worker.poll() is None, log.read_text()
    finally:
        end(worker)


def _until(condition: Callable[[], object], what: str, log: Path | None = None) -> None:
    deadline = time.monotonic() + _LONG_S
    while not condition():
        if time.monotonic() > deadline:
            said = "" if log is None else log.read_text(errors="replace")[-4000:]
            pytest.fail(f"not within {_LONG_S:g} s: {what}\n{said}")
        time.sleep(0.2)
