"""What one peer did in one round: requests a second, its processor time and the server's per request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import redis
from celery import Celery

from benchmarks.peers.clients import tokens
from benchmarks.peers.server import Nghttpd
from benchmarks.processes import cpu_s
from messaging.local.free_ports import free_ports
from messaging.local.valkey import Valkey

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
_WAIT_S = 120.0


class Server(Protocol):
    """What a peer sends to."""

    @property
    def origin(self) -> str:
        """Its scheme, address and port."""
        ...

    @property
    def ca_file(self) -> Path:
        """Whom to trust."""
        ...

    def cpu_s(self) -> float:
        """Processor seconds it has used."""
        ...


@dataclass(frozen=True)
class Measured:
    """One round of one peer."""

    per_s: float
    cpu_us: float
    """Of the client's process, per request."""
    server_us: float
    """Of the server, per request."""


def python_client(name: str, server: Server, requests: int) -> Measured:
    """One of `clients.CLIENTS`."""
    # a deprecated argument of firebase-admin that everybody's code has
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-m", "benchmarks.peers.clients"]
    return _timed([*command, name, server.origin, str(server.ca_file), str(requests)], server)


def node_apn(server: Nghttpd, token_prefix: str, requests: int) -> Measured:
    """@parse/node-apn under Node."""
    files = (str(server.ca_file), str(server.key_file))
    return _timed(["node", str(HERE / "node_apn.mjs"), server.origin, *files, str(requests), token_prefix], server)


def _timed(command: Sequence[str], server: Server) -> Measured:
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline().strip() != "started":
            raise RuntimeError(f"{command[-5:]} did not start; what it printed says why.")
        before = server.cpu_s()
        line = process.stdout.readline()
        spent = server.cpu_s() - before
    if process.returncode or not line:
        raise RuntimeError(f"{command[-5:]} failed; what it printed says why.")
    found = json.loads(line)
    count = found["requests"]
    return Measured(count / found["wall_s"], found["cpu_s"] / count * 1e6, spent / count * 1e6)


def celery_task_per_recipient(server: Nghttpd, directory: Path, requests: int) -> tuple[Measured, float]:
    """Tasks a second of one worker process, all queued before it starts; and the producer's CPU us per task."""
    directory.mkdir(exist_ok=True)
    (port,) = free_ports(1)
    valkey = Valkey(directory, port=port, log=directory / "valkey.log")
    broker = valkey.start()
    try:
        _wait(valkey.ready)
        with Celery(broker=valkey.url(), set_as_current=False) as producer:
            cpu = time.process_time()
            for token in tokens(requests):
                producer.send_task("peers.push", (token,), queue="peers", ignore_result=True)
            published_us = (time.process_time() - cpu) / requests * 1e6
        with redis.Redis.from_url(valkey.url()) as queue:
            return _consumed(server, valkey.url(), queue, directory, requests), published_us
    finally:
        valkey.stop(broker)


def _consumed(server: Nghttpd, url: str, queue: redis.Redis, directory: Path, requests: int) -> Measured:
    environment = os.environ | {
        "PEERS_BROKER_URL": url,
        "PEERS_ORIGIN": server.origin,
        "PEERS_CA_FILE": str(server.ca_file),
    }
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.peers.task_per_recipient", "worker"]
    with (directory / "worker.log").open("ab") as log:
        worker = subprocess.Popen(
            [*command, "-c", "1", "-Q", "peers", "-l", "WARNING"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        # from the first tenth to the last: neither start nor end is timed
        marks = []
        for left in (requests * 9 // 10, requests // 10):
            _wait(lambda left=left: int(queue.llen("peers")) <= left)
            marks.append((time.perf_counter(), int(queue.llen("peers")), cpu_s(worker.pid), server.cpu_s()))
    finally:
        worker.terminate()
        try:
            worker.wait(10)
        except subprocess.TimeoutExpired:  # Celery's own end now and then waits for a broker that has nothing to say
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    (began, first, cpu, served), (ended, last, cpu_after, served_after) = marks
    done = first - last
    return Measured(done / (ended - began), (cpu_after - cpu) / done * 1e6, (served_after - served) / done * 1e6)


def _wait(done: object) -> None:
    assert callable(done)
    deadline = time.monotonic() + _WAIT_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"The benchmark of one task per recipient stood still for {_WAIT_S:.0f} s.")
        time.sleep(0.02)
