"""The runner restarts what dies, gives up on what never starts, and stops in order."""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from messaging.local.children import Command, spawn
from messaging.local.errors import StackError
from messaging.local.runner import Runner

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass
class _Part:
    """A small Python program; ready when it has made its file."""

    name: str
    directory: Path
    program: str
    stop_signal: signal.Signals = signal.SIGTERM

    def start(self) -> subprocess.Popen[bytes]:
        (self.directory / f"{self.name}.made").unlink(missing_ok=True)
        return spawn(
            Command(
                argv=[sys.executable, "-c", self.program, str(self.directory / f"{self.name}.made")],
                cwd=self.directory,
                env=dict(os.environ),
                log=self.directory / f"{self.name}.log",
            )
        )

    def ready(self) -> bool:
        return (self.directory / f"{self.name}.made").exists()


_STEADY = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
_PATIENCE_S = 120.0
_FAILS = "print('no such table'); raise SystemExit(3)"


@dataclass
class _Bench:
    directory: Path
    said: list[str] = field(default_factory=list)
    changes: int = 0
    interrupted: bool = False
    hurried: bool = False

    def __post_init__(self) -> None:
        self.runner = Runner(
            run_dir=self.directory,
            logs_dir=self.directory,
            report=lambda name, text: self.said.append(f"{name} {text}"),
            changed=self._note_change,
            interrupted=lambda: self.interrupted,
            hurry=lambda: self.hurried,
        )

    def _note_change(self) -> None:
        self.changes += 1

    def part(self, name: str, program: str = _STEADY) -> _Part:
        return _Part(name, self.directory, program)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[_Bench]:
    """A runner on an empty directory; whatever it runs is stopped in the end."""
    made = _Bench(tmp_path)
    yield made
    made.runner.stop_all([tuple(made.runner.pids())], timeout_s=5)


def _wait(bench: _Bench, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, bench.said
        bench.runner.look_after()
        time.sleep(0.02)


def test_one_that_dies_is_started_again_and_the_new_pid_is_told(bench: _Bench) -> None:
    """After a `kill -9` another process does the work, and the pids are written anew."""
    bench.runner.start(bench.part("push"))
    assert bench.runner.wait_ready(["push"], timeout_s=_PATIENCE_S)
    before = bench.runner.pids()["push"]
    os.kill(before, signal.SIGKILL)
    _wait(bench, lambda: bench.changes == 1)
    assert bench.runner.pids()["push"] != before
    assert any("signal 9" in line for line in bench.said)
    assert bench.runner.wait_ready(["push"], timeout_s=_PATIENCE_S)


def test_one_that_never_starts_ends_the_wait_with_its_log(bench: _Bench) -> None:
    """The error says how often it was tried and quotes the end of the log."""
    bench.runner.start(bench.part("intake", _FAILS))
    with pytest.raises(StackError, match=r"intake ended 3 times[\s\S]*no such table"):
        bench.runner.wait_ready(["intake"], timeout_s=_PATIENCE_S)


def test_one_that_is_late_is_named(bench: _Bench) -> None:
    """A part that runs but never becomes ready ends the wait with its name."""
    bench.runner.start(bench.part("sms", "import time; time.sleep(600)"))
    with pytest.raises(StackError, match="sms was not ready within"):
        bench.runner.wait_ready(["sms"], timeout_s=0.3)


def test_the_wait_ends_at_an_interrupt(bench: _Bench) -> None:
    """Ctrl-C while starting is not an error."""
    bench.runner.start(bench.part("sms", "import time; time.sleep(600)"))
    bench.interrupted = True
    assert not bench.runner.wait_ready(["sms"], timeout_s=_PATIENCE_S)


def test_stages_stop_one_after_the_other(bench: _Bench) -> None:
    """A later stage is not asked before an earlier one has gone."""
    for name in ("postgres", "push", "beat"):
        bench.runner.start(bench.part(name))
    assert bench.runner.wait_ready(["postgres", "push", "beat"], timeout_s=_PATIENCE_S)
    bench.said.clear()
    bench.runner.stop_all([("beat",), ("push",), ("postgres",)], timeout_s=_PATIENCE_S)
    assert bench.said == ["beat stopped", "push stopped", "postgres stopped"]
    assert bench.runner.pids() == {}
    assert list(bench.directory.glob("*.pid")) == []


def test_a_second_signal_waits_for_servers_only(bench: _Bench) -> None:
    """In a hurry a worker that takes its time is killed at once; a server still closes its files."""
    slow = (
        "import pathlib, signal, sys, time\n"
        "def leave(*_):\n    time.sleep({})\n    pathlib.Path(sys.argv[1] + '.closed').touch()\n    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(600)"
    )
    for name, takes_s in (("push", 20), ("postgres", 1)):
        bench.runner.start(bench.part(name, slow.format(takes_s)))
    assert bench.runner.wait_ready(["push", "postgres"], timeout_s=_PATIENCE_S)
    bench.hurried = True
    bench.runner.stop_all([("push",), ("postgres",)], timeout_s=_PATIENCE_S, patient=("postgres",))
    assert [path.name for path in bench.directory.glob("*.closed")] == ["postgres.made.closed"]


def test_a_program_that_does_not_exist_is_an_error_with_its_name(bench: _Bench) -> None:
    """A part whose program is missing says so at once."""

    class _Missing(_Part):
        def start(self) -> subprocess.Popen[bytes]:
            return spawn(Command(argv=["/nonexistent"], cwd=self.directory, env={}, log=self.directory / "missing.log"))

    with pytest.raises(StackError, match="flower cannot be started"):
        bench.runner.start(_Missing("flower", bench.directory, ""))
