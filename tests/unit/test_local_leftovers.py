"""One stack per directory; what a killed one left is stopped; children die with their parent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from messaging.local.children import Command, group_members, identity, kill_group, spawn, stop_group
from messaging.local.errors import AlreadyRunningError
from messaging.local.leftovers import only_one, record, stop_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable

_SLEEPER = "import time; time.sleep(600)"
_PATIENCE_S = 120.0


def _command(tmp_path: Path, program: str) -> Command:
    return Command(argv=[sys.executable, "-c", program], cwd=tmp_path, env=dict(os.environ), log=tmp_path / "child.log")


def _wait(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_second_stack_on_a_directory_is_told_who_holds_it(tmp_path: Path) -> None:
    """The error names the process that runs there; when it has gone, the directory is free."""
    with (
        only_one(tmp_path),
        pytest.raises(AlreadyRunningError, match=rf"pid {os.getpid()}"),
        only_one(tmp_path),
    ):
        pass
    with only_one(tmp_path):
        pass


def test_a_recorded_process_is_stopped(tmp_path: Path) -> None:
    """What a killed stack noted in its directory is stopped by the next one, and named."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    child = spawn(_command(tmp_path, _SLEEPER))
    record(run_dir, "push", child.pid)
    assert stop_leftovers(run_dir) == ["push"]
    assert child.wait(_PATIENCE_S) == -signal.SIGTERM
    assert list(run_dir.iterdir()) == []


def test_a_stranger_with_a_recorded_number_is_left_alone(tmp_path: Path) -> None:
    """A process that got the number of one of ours later keeps running."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    stranger = spawn(_command(tmp_path, _SLEEPER))
    try:
        (run_dir / "push.pid").write_text(json.dumps({"pid": stranger.pid, "identity": "an earlier boot:1"}))
        assert stop_leftovers(run_dir) == []
        assert stranger.poll() is None
    finally:
        stop_group(stranger)


def test_pool_processes_without_their_master_are_stopped(tmp_path: Path) -> None:
    """Where only the master was killed, its children are found by their group."""
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    program = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', '{_SLEEPER}']).wait()"
    master = spawn(_command(tmp_path, program))
    record(run_dir, "push", master.pid)
    _wait(lambda: len(group_members(master.pid)) == 2, "the pool process did not start")
    master.kill()
    master.wait()
    assert len(group_members(master.pid)) == 1
    assert stop_leftovers(run_dir) == ["push"]
    assert group_members(master.pid) == []


def test_a_broken_record_is_dropped(tmp_path: Path) -> None:
    """A file that says nothing stops nothing and is removed."""
    (tmp_path / "push.pid").write_text("{")
    assert stop_leftovers(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_child_dies_when_its_parent_is_killed(tmp_path: Path) -> None:
    """`kill -9` of the parent ends the child as well."""
    program = f"""
import os, sys, time
from pathlib import Path
from messaging.local.children import Command, spawn
here = Path({str(tmp_path)!r})
child = spawn(Command(argv=[sys.executable, "-c", {_SLEEPER!r}], cwd=here, env=dict(os.environ), log=here / "log"))
print(child.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert identity(child) is not None
        parent.kill()
    _wait(lambda: identity(child) is None, "the child outlived its parent")


def test_one_that_will_not_leave_is_killed_with_its_group(tmp_path: Path) -> None:
    """SIGTERM first, then SIGKILL for the whole group."""
    ready = tmp_path / "ready"
    program = (
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(600)"
    )
    child = spawn(_command(tmp_path, program))
    _wait(ready.exists, "the child did not start")
    assert not stop_group(child, timeout_s=0.2)
    assert child.returncode == -signal.SIGKILL
    kill_group(child.pid)
    assert group_members(child.pid) == []


def test_identity_tells_a_process_from_a_later_one(tmp_path: Path) -> None:
    """The same process keeps its identity, another has another, a dead one has none."""
    one, two = spawn(_command(tmp_path, _SLEEPER)), spawn(_command(tmp_path, _SLEEPER))
    assert identity(os.getpid()) == identity(os.getpid())
    assert identity(os.getpid()) not in {None, identity(one.pid)}
    stop_group(one)
    stop_group(two)
    assert identity(one.pid) is None
