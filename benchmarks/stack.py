"""The servers and workers a benchmark runs against, on a fresh directory, gone when it ends."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from messaging.local.free_ports import free_ports
from messaging.local.postgres import Postgres
from messaging.local.valkey import Valkey
from messaging.store.migrate import upgrade

SECRET = "benchmark " * 4
_START_S = 60.0


@dataclass(frozen=True)
class Servers:
    """Where they listen, and what workers need in their environment."""

    directory: Path
    database_url: str
    broker_url: str
    pids: Mapping[str, int]
    """Of `postgres` and `valkey`."""

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a worker."""
        return (
            {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
            | {
                "MESSAGING_DATABASE_URL": self.database_url,
                "MESSAGING_BROKER_URL": self.broker_url,
                "MESSAGING_SECRET_KEY": SECRET,
            }
            | more
        )


@contextlib.contextmanager
def servers(postgres_settings: Mapping[str, str] | None = None) -> Iterator[Servers]:
    """A durable PostgreSQL, migrated, and a Valkey; `postgres_settings` are added to those of the embedded one."""
    with tempfile.TemporaryDirectory(prefix="heliograph-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)
        postgres_port, valkey_port = free_ports(2)
        postgres = Postgres(directory, port=postgres_port, log=directory / "postgres.log", settings=postgres_settings)
        valkey = Valkey(directory, port=valkey_port, log=directory / "valkey.log")
        pids: dict[str, int] = {}
        with contextlib.ExitStack() as stack:
            for server in (postgres, valkey):
                process = server.start()
                pids[server.name] = process.pid
                stack.callback(server.stop, process)
                _wait(server.ready, f"{type(server).__name__} to answer")
            stack.callback(postgres.destroy)
            url = postgres.create_database("bench")
            upgrade(url)
            yield Servers(directory, url, valkey.url(), pids)


@contextlib.contextmanager
def workers(found: Servers, roles: Mapping[str, Sequence[str]], **environment: str) -> Iterator[dict[str, int]]:
    """Celery processes by name (`roles`: name → arguments after `celery -A workers.app`); name → pid once ready."""
    running: dict[str, subprocess.Popen[bytes]] = {}
    logs = found.directory / "logs"
    logs.mkdir(exist_ok=True)
    try:
        for name, arguments in roles.items():
            ready = found.directory / f"{name}.ready"
            with (logs / f"{name}.log").open("ab") as log:
                running[name] = subprocess.Popen(
                    [sys.executable, "-m", "celery", "-A", "workers.app", *arguments],
                    env=found.environment(MESSAGING_READY_FILE=str(ready), **environment),
                    stdout=log,
                    stderr=log,
                )
        for name, arguments in roles.items():
            if arguments[0] == "worker":
                _wait((found.directory / f"{name}.ready").exists, f"{name} to be ready")
        yield {name: process.pid for name, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(done: object, what: str) -> None:
    assert callable(done)
    deadline = time.monotonic() + _START_S
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"Waited {_START_S:.0f} s for {what}.")
        time.sleep(0.05)
