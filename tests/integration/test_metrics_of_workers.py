"""A real worker with processes serves what all of them count, and its probe knows how it is."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest

from messaging.local.free_ports import free_ports
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.store.batches import Hint
from messaging.wire import Queue, TaskName
from tests.integration.road import SECRET
from tests.integration.worker_process import Worker

TOKEN = "a-token-for-tests"
_SWEEPS = re.compile(r"^heliograph_sweeps_total (\S+)$", re.MULTILINE)


class Served:
    """A worker, and what it serves."""

    def __init__(self, worker: Worker, port: int, settings: Settings) -> None:
        self.worker = worker
        self.port = port
        self.settings = settings

    def read(self, token: str = TOKEN, *, path: str = "/metrics") -> httpx.Response:
        """Its metrics, or what else it is asked for."""
        headers = {"authorization": f"Bearer {token}"}
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", headers=headers, trust_env=False, timeout=60)

    @property
    def sweeps(self) -> float:
        """How many it did."""
        found = _SWEEPS.search(self.read().text)
        return float(found[1]) if found else 0.0

    def sweep_until(self, more_than: float) -> None:
        """Have it sweep until it has counted more."""
        with closing(Publisher(self.settings)) as publisher:

            def swept() -> bool:
                publisher.publish([Hint(queue=Queue.SWEEP, shadow="sweep", task=TaskName.SWEEP)])
                return self.sweeps > more_than

            self.worker.until(swept, f"it did not count more than {more_than:g} sweeps")

    def probe(self) -> subprocess.CompletedProcess[str]:
        """What `messaging health` says of it."""
        command = [sys.executable, "-m", "messaging.cli.main", "health", "--file", str(self.worker.ready_file)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, postgres_url: str, valkey_url: str) -> Iterator[Served]:
    """A worker that sweeps, with one process, when it answers."""
    directory = tmp_path_factory.mktemp("served")
    (port,) = free_ports(1)
    worker = Worker(
        directory,
        "fanout",
        queues=Queue.SWEEP,
        pool="-c 1",
        database_url=postgres_url,
        broker_url=valkey_url,
        MESSAGING_METRICS_PORT=f"push=1,fanout={port}",
        MESSAGING_METRICS_TOKEN=TOKEN,
        MESSAGING_WATCHDOG_S="60",
        TMPDIR=str(directory),
    )
    settings = Settings.load({}, database_url=postgres_url, broker_url=valkey_url, secret_key=SECRET)
    found = Served(worker, port, settings)
    try:
        worker.until(lambda: worker.is_ready and _answers(found), "it did not serve metrics")
        yield found
    finally:
        worker.close()


def _answers(served: Served) -> bool:
    try:
        return served.read().is_success
    except httpx.TransportError:
        return False


def test_what_a_process_of_the_pool_counts_its_worker_serves(served: Served) -> None:
    """And goes on from there when another has taken the place of one that was killed."""
    served.sweep_until(0)
    before = served.sweeps
    (child,) = served.worker.children
    os.kill(child, signal.SIGKILL)
    served.worker.until(lambda: set(served.worker.children) - {child}, "the child was not replaced")
    assert served.sweeps >= before
    served.sweep_until(before)


def test_nobody_reads_them_without_the_token(served: Served) -> None:
    """And nothing else is served."""
    assert served.read("wrong").status_code == 401
    assert served.read(path="/").status_code == 404


def test_its_probe_says_that_it_is_well_and_then_that_it_is_gone(served: Served) -> None:
    """The last of these tests: it stops the worker, which removes its files and frees its port."""
    said = served.probe()
    assert (said.returncode, said.stderr) == (0, "")
    os.kill(served.worker.process.pid, signal.SIGTERM)
    assert served.worker.ended_with() == 0
    assert not list(served.worker.ready_file.parent.glob("heliograph-metrics-*"))
    said = served.probe()
    assert said.returncode == 1
    assert "not ready" in said.stderr
