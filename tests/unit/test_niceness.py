"""The niceness of a worker counts beside other processes, not only among its own threads."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from workers import niceness

_AUTOGROUP = Path("/proc/self/autogroup")
_OURS = os.getpriority(os.PRIO_PROCESS, 0)
"""Whoever runs the tests may have made them nice."""
_SAYS = """
from pathlib import Path
from workers.niceness import make_niceness_count
make_niceness_count()
print("".join(Path("/proc/self/autogroup").read_text().split()[-1:]))
"""

pytestmark = pytest.mark.skipif(not _AUTOGROUP.exists(), reason="this kernel has no autogroups")


def _session_of(*command: str, own_session: bool) -> str:
    """The niceness of the session that the command runs in, as it says itself."""
    argv = [*command, sys.executable, "-c", _SAYS]
    return subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, check=True, start_new_session=own_session
    ).stdout.strip()


def test_the_session_of_a_nice_worker_is_as_nice() -> None:
    """A supervisor gave it a session of its own."""
    assert _session_of("nice", "-n", "5", own_session=True) == str(min(max(_OURS + 5, 0), 19))


def test_a_wish_that_is_refused_for_now_is_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes few at a time, and the workers of a stack become ready together."""
    asked: list[str] = []

    class Busy:
        def write_text(self, said: str, *, encoding: str) -> None:
            asked.append(said.encode(encoding).decode())
            if len(asked) < 3:
                raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(niceness, "_AUTOGROUP", Busy())
    monkeypatch.setattr(niceness, "_PAUSE_S", (0.0, 0.0))
    monkeypatch.setattr(os, "getpriority", lambda *_: 7)
    monkeypatch.setattr(os, "getsid", lambda _: os.getpid())
    niceness.make_niceness_count()
    assert asked == ["7"] * 3


def test_a_worker_that_is_not_nice_leaves_its_session_alone() -> None:
    """Nothing was asked for."""
    assert _session_of(own_session=True) == str(max(_OURS, 0))


def test_a_session_that_is_shared_is_left_alone() -> None:
    """It belongs to a terminal, or to a supervisor and all its processes (or to none: the file is empty then)."""
    before = "".join(_AUTOGROUP.read_text().split()[-1:])
    assert _session_of("nice", "-n", "5", own_session=False) == before
