"""One worker in a process of its own, against the embedded servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from messaging.local.children import group_members
from tests.integration.road import SECRET

ROOT = Path(__file__).resolve().parents[2]
_POLL_S = 0.05


class Worker:
    """A worker that runs from the moment it is made."""

    def __init__(
        self, directory: Path, name: str, *, queues: str, pool: str, database_url: str, broker_url: str, **env: str
    ) -> None:
        self.name = name
        self.ready_file = directory / f"{name}.ready"
        self.log_file = directory / f"{name}.log"
        own = {key: value for key, value in os.environ.items() if not key.startswith("MESSAGING_")}
        self._output = self.log_file.open("wb")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "celery", "-A", "tests.integration.hurt_app", "worker", "-Q", queues),
                *("-n", f"{name}@%h", *pool.split(), "--without-gossip", "--without-mingle", "-l", "INFO"),
            ],
            cwd=ROOT,
            env=own
            | {
                "MESSAGING_DATABASE_URL": database_url,
                "MESSAGING_BROKER_URL": broker_url,
                "MESSAGING_SECRET_KEY": SECRET,
                "MESSAGING_READY_FILE": str(self.ready_file),
            }
            | env,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    @property
    def log(self) -> str:
        """What it wrote."""
        return self.log_file.read_text(errors="replace")

    @property
    def is_ready(self) -> bool:
        """Whether it said so."""
        return self.ready_file.exists()

    @property
    def children(self) -> list[int]:
        """Its pool's processes."""
        return [pid for pid in group_members(self.process.pid) if pid != self.process.pid]

    def until(self, condition: Callable[[], object], what: str, *, within_s: float = 120.0) -> None:
        """Return when `condition` holds; fail with its log when it does not in time."""
        deadline = time.monotonic() + within_s
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"{self.name}: {what} not within {within_s:g} s\n{self.log[-4000:]}")
            time.sleep(_POLL_S)

    def ended_with(self, *, within_s: float = 120.0) -> int:
        """Its exit code, once it has one."""
        self.until(lambda: self.process.poll() is not None, "it did not end", within_s=within_s)
        return int(self.process.returncode)

    def close(self) -> None:
        """End it and all that is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._output.close()
