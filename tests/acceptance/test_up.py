"""`messaging up` as people and scripts meet it: it starts, says where, carries on, and leaves nothing behind."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psycopg
import pytest

from messaging.local.children import identity
from messaging.local.postgres_home import remove
from messaging.local.processes import PROCESSES
from messaging.local.runtime import Runtime, read_runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

pytestmark = pytest.mark.timeout(900)
_DEADLINE_S = 300.0


class Stack:
    """`messaging up` on one directory, in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def output(self) -> str:
        """What it has printed so far."""
        return (self.directory.parent / "output").read_text(errors="replace")

    def start(self, *arguments: str, env: Mapping[str, str] | None = None) -> Runtime:
        """Start it and wait for its runtime.json."""
        own = {name: value for name, value in os.environ.items() if not name.startswith("MESSAGING_")}
        with (self.directory.parent / "output").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "messaging.local.up", "--data-dir", str(self.directory), *arguments],
                stdout=output,
                stderr=output,
                env=own | dict(env or {}),
                start_new_session=True,
            )
        wait(lambda: self._ended() or self._has_started(), lambda: self.output)
        assert not self._ended(), self.output
        return self.runtime()

    def _ended(self) -> bool:
        return self._process is not None and self._process.poll() is not None

    def _has_started(self) -> bool:
        """Whether the runtime.json there is this run's: one that was killed leaves its own behind."""
        try:
            return bool(alive(self.runtime()))
        except FileNotFoundError:
            return False

    def runtime(self) -> Runtime:
        """What it last wrote."""
        return read_runtime(self.directory)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send `number` and return the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        code = self._process.wait(300)
        self._process = None
        return code

    def close(self) -> None:
        """End it if it runs, and delete its database wherever that lies."""
        if self._process is not None:
            self.end()
        remove(self.directory / "postgres")


def wait(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Return once `condition` holds; fail with `what` after the deadline."""
    deadline = time.monotonic() + _DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(what())
        time.sleep(0.1)


def get(url: str) -> httpx.Response:
    """The answer of a part of the stack, however busy the machine is."""
    return httpx.get(url, trust_env=False, timeout=60)


def alive(runtime: Runtime) -> list[str]:
    """Names of the processes in `runtime` that still run."""
    return [name for name, pid in runtime.processes.items() if identity(pid) is not None]


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a space in its name, too deep for a socket's path."""
    home = Path("/tmp") / f"up test {secrets.token_hex(4)}"  # noqa: S108  # pytest's own is closed to `nobody`
    deep = home / ("x" * 100)
    deep.mkdir(parents=True)
    yield deep
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def stack(place: Path) -> Iterator[Stack]:
    """A stack that is not started yet, and is stopped in the end."""
    made = Stack(place / "data")
    yield made
    with suppress(subprocess.TimeoutExpired):
        made.close()


def test_a_stack_starts_says_where_and_stops_in_order(stack: Stack, place: Path) -> None:
    """Everything the Procfile names runs, the addresses answer, a second start is refused, SIGTERM ends it with 0."""
    runtime = stack.start("--sandbox")
    assert set(runtime.processes) == {process.name for process in PROCESSES} | {"postgres", "valkey", "sandbox"}
    assert alive(runtime) == list(runtime.processes)
    assert get(runtime.endpoint + "/health").json()["status"] == "pass"
    assert get(runtime.flower.replace("admin:", "admin:wrong")).status_code == 401
    assert get(runtime.flower).status_code == 200
    assert runtime.sandbox is not None
    assert get(runtime.sandbox["control"] + "/health").status_code == 200
    for name in ("runtime.json", "secret.key", "api.key"):
        assert stat.S_IMODE((stack.directory / name).stat().st_mode) == 0o600, name

    second = subprocess.run(
        [sys.executable, "-m", "messaging.local.up", "--data-dir", str(stack.directory)],
        capture_output=True,
        text=True,
        check=False,
        cwd=place,
    )
    assert second.returncode == 1
    assert "already runs" in second.stderr
    assert alive(runtime) == list(runtime.processes), "the refused start disturbed the running stack"

    assert stack.end(signal.SIGINT) == 0
    assert alive(runtime) == []
    assert not (stack.directory / "runtime.json").exists()
    stopped = [line.split()[1] for line in stack.output.splitlines() if line.endswith(" stopped")]
    assert stopped.index("beat") < stopped.index("intake") < stopped.index("push") < stopped.index("valkey")
    assert stopped[-1] == "postgres"


def _is_ready(runtime: Runtime) -> bool:
    try:
        return get(runtime.endpoint.removesuffix("/v1") + "/health/ready").status_code == 200
    except httpx.TransportError:
        return False


def test_what_dies_is_replaced_and_kill_9_leaves_nothing_behind_but_the_data(stack: Stack) -> None:
    """First a worker and both servers die, then all of it; the next start has the same key, addresses and data."""
    first = stack.start()
    killed = {first.processes[name] for name in ("push", "valkey", "postgres")}
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    wait(lambda: not killed & set(stack.runtime().processes.values()), lambda: stack.output)
    wait(lambda: len(alive(stack.runtime())) == len(first.processes), lambda: stack.output)
    wait(lambda: _is_ready(first), lambda: stack.output)

    with psycopg.connect(first.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    last = stack.runtime()
    assert stack.end(signal.SIGKILL) == -signal.SIGKILL
    wait(lambda: alive(last) == [], lambda: f"still running: {alive(last)}")

    second = stack.start()
    assert (second.endpoint, second.api_key, second.database_url) == (first.endpoint, first.api_key, first.database_url)
    with psycopg.connect(second.database_url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert stack.end() == 0


def test_a_port_in_use_is_named(stack: Stack) -> None:
    """`--port` of somebody else's server ends with its number and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "messaging.local.up", "--data-dir", str(stack.directory), "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert f"Port {port} is taken" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_database_that_is_not_there_is_an_error_not_a_wait(stack: Stack) -> None:
    """A wrong MESSAGING_DATABASE_URL ends with a sentence that names the setting, and everything stopped."""
    done = subprocess.run(
        [sys.executable, "-m", "messaging.local.up", "--data-dir", str(stack.directory)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"MESSAGING_DATABASE_URL": "postgresql://nobody:hidden@127.0.0.1:1/none"},
    )
    assert done.returncode == 1
    assert "MESSAGING_DATABASE_URL" in done.stderr
    assert "hidden" not in done.stderr
    assert "Traceback" not in done.stderr
