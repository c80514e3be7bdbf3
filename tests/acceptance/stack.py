"""`messaging up` in a process of its own: started, asked, hurt and ended by the tests."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest

from messaging.client.messaging import Messaging
from messaging.local.children import Command, group_members, identity, spawn
from messaging.local.postgres_home import remove
from messaging.local.runtime import Runtime, read_runtime

_T = TypeVar("_T")

_START_S = 300.0
"""Four stacks begin at once on two cores."""
_STOP_S = 120.0
_PATIENCE_S = 120.0
"""How long anything may take that is certain to come."""
_POLL_S = 0.05

WORKERS = ("intake", "fanout", "push", "push-high", "email", "email-high", "sms", "sms-high")

_SECOND_SIGNAL_S = 0.3

FAST = {
    "MESSAGING_LEASE_S": "5",
    "MESSAGING_HINT_PAUSE_S": "1",
    "MESSAGING_VISIBILITY_TIMEOUT_S": "10",
    "MESSAGING_BACKOFF_MIN_S": "0.2",
    "MESSAGING_BACKOFF_MAX_S": "2",
    "MESSAGING_DEAD_GRACE_S": "1",
}
"""What takes minutes in production takes seconds here; nothing else differs."""

UNHURT = FAST | {"MESSAGING_LEASE_S": "60"}
"""Where nobody dies, no lease has to end soon: a machine that stands still for seconds lets none run out."""


def until(condition: Callable[[], _T | None], what: Callable[[], str] | str, *, within_s: float = _PATIENCE_S) -> _T:
    """The first true answer of `condition`; fails with `what` when there is none in time."""
    deadline = time.monotonic() + within_s
    while not (answer := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {within_s:g} s: {what if isinstance(what, str) else what()}")
        time.sleep(_POLL_S)
    return answer


@dataclass
class Stack:
    """One stack on one directory."""

    directory: Path
    env: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str) -> None:
        """Start it, and return when it is ready."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
        self._process = spawn(
            Command(
                argv=[sys.executable, "-m", "messaging.local.up", "--data-dir", str(self.directory), *arguments],
                cwd=self.directory.parent,
                env=own | dict(self.env),
                log=self._output,
                parent_death_signal=signal.SIGTERM,  # it stops in order even when the tests are killed
            )
        )
        until(lambda: self._has_ended or self._is_up, lambda: self.tail("up"), within_s=_START_S)
        assert not self._has_ended, self._output.read_text(errors="replace")[-3000:]

    @property
    def runtime(self) -> Runtime:
        """What runtime.json says now."""
        return read_runtime(self.directory)

    @property
    def secret_key(self) -> str:
        """What another set of workers needs to open credentials."""
        return (self.directory / "secret.key").read_text().strip()

    @property
    def sandbox(self) -> Mapping[str, str]:
        """Addresses of the providers' stand-ins."""
        assert self.runtime.sandbox is not None
        return self.runtime.sandbox

    @contextmanager
    def client(self) -> Iterator[Messaging]:
        """A client of this stack."""
        with Messaging.from_runtime(self.directory) as client:
            yield client

    def log(self, name: str) -> str:
        """Everything the process `name` has logged."""
        return (self.directory / "logs" / f"{name}.log").read_text(errors="replace")

    def tail(self, *names: str, lines: int = 12) -> str:
        """The ends of some logs, for a failure to be understood."""
        found = []
        for name in names:
            with suppress(FileNotFoundError):
                found.append(f"--- {name}\n" + "\n".join(self.log(name).splitlines()[-lines:]))
        return "\n".join(found)

    # -- hurt --------------------------------------------------------------------------------------

    def kill(self, name: str) -> int:
        """`kill -9` the process and its children at once; the number of the one that died."""
        pid = self.runtime.processes[name]
        for member in group_members(pid):
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        until(lambda: identity(pid) is None, f"{name} survived SIGKILL")
        return pid

    def works(self, name: str) -> bool:
        """Whether a worker runs and has said that it is ready; the mark of one that was killed lies there still."""
        runs = identity(self.runtime.processes[name]) is not None
        return runs and (self.directory / "run" / f"{name}.ready").exists()

    def replaced(self, *killed: int, within_s: float = _PATIENCE_S) -> None:
        """Return when none of `killed` is listed any more and everything listed runs and is ready."""
        until(lambda: not set(killed) & set(self.runtime.processes.values()), self._says, within_s=within_s)
        self.ready(within_s=within_s)

    def ready(self, *, within_s: float = _PATIENCE_S) -> None:
        """Return when every process runs and every worker has said that it is ready."""
        until(self._all_ready, self._says, within_s=within_s)

    def restart_workers(self, names: Sequence[str] = WORKERS) -> None:
        """Ask workers to leave, as a deployment does, and return when their successors are ready."""
        before = [self.runtime.processes[name] for name in names]
        for pid in before:
            os.kill(pid, signal.SIGTERM)
        self.replaced(*before, within_s=240.0)

    # -- end ---------------------------------------------------------------------------------------

    def close(self) -> None:
        """End it without waiting for what it works on, and delete its database wherever that lies.

        How it stops in order is what `test_up.py` looks at.
        """
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(_SECOND_SIGNAL_S)
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()  # the kernel ends its children with it
                process.wait()
        remove(self.directory / "postgres")

    @property
    def _output(self) -> Path:
        return self.directory.parent / f"{self.directory.name}.out"

    @property
    def _has_ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    @property
    def _is_up(self) -> bool:
        try:
            return bool(self.runtime.processes)
        except FileNotFoundError:
            return False

    def _all_ready(self) -> bool:
        runs = all(identity(pid) is not None for pid in self.runtime.processes.values())
        return runs and all((self.directory / "run" / f"{name}.ready").exists() for name in WORKERS)

    def _says(self) -> str:
        return self._output.read_text(errors="replace")[-3000:]


@contextmanager
def running(*arguments: str, **env: str) -> Iterator[Stack]:
    """A stack on a fresh directory with these arguments and variables; nothing of it is left afterwards."""
    home = Path(tempfile.mkdtemp(prefix="heliograph-"))
    home.chmod(0o711)  # PostgreSQL runs under another account
    stack = Stack(home / "data", env)
    try:
        stack.start(*arguments)
        yield stack
    finally:
        stack.close()
        shutil.rmtree(home, ignore_errors=True)
