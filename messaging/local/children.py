"""Child processes that never outlive us: started in a group of their own, and stopped with it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_libc = ctypes.CDLL(None, use_errno=True)
_POLL_S = 0.05
_ROTATE_BYTES = 10 * 1024 * 1024
_ROTATE_KEEP = 3


@dataclass(frozen=True, kw_only=True)
class Command:
    """How one process is started. `user` and `group` are numeric ids to drop to; None keeps ours."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    log: Path
    user: int | None = None
    group: int | None = None
    parent_death_signal: signal.Signals = field(default=signal.SIGKILL)


def spawn(command: Command) -> subprocess.Popen[bytes]:
    """Start `command` in its own session, its output appended to its log.

    The kernel sends it `parent_death_signal` when the calling *thread* ends, `kill -9` included, so call this from
    a thread that lives as long as the child should (man 2 prctl, PR_SET_PDEATHSIG). Raises OSError where the program
    cannot be started.
    """
    us = os.getpid()
    wanted = int(command.parent_death_signal)

    def bind_to_parent() -> None:  # runs in the child, after the change of user (which would reset the signal)
        _libc.prctl(_PR_SET_PDEATHSIG, wanted, 0, 0, 0)
        if os.getppid() != us:  # we died before the line above
            os.kill(os.getpid(), signal.SIGKILL)

    rotate(command.log)
    with command.log.open("ab") as log:
        return subprocess.Popen(
            list(command.argv),
            cwd=command.cwd,
            env=dict(command.env),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            user=command.user,
            group=command.group,
            extra_groups=None if command.user is None else [],
            start_new_session=True,
            preexec_fn=bind_to_parent,  # noqa: PLW1509  # the stack's main process starts no threads
        )


def rotate(log: Path, *, limit_bytes: int = _ROTATE_BYTES) -> None:
    """Move a log that passed `limit_bytes` aside (`.1` is the newest of three); done only when a process starts."""
    if not log.exists() or log.stat().st_size <= limit_bytes:
        return
    for number in range(_ROTATE_KEEP - 1, 0, -1):
        older = log.with_name(f"{log.name}.{number}")
        if older.exists():
            older.replace(log.with_name(f"{log.name}.{number + 1}"))
    log.replace(log.with_name(f"{log.name}.1"))


def identity(pid: int) -> str | None:
    """What tells this process from a later one with the same number: boot id and start tick. None if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name in brackets may hold spaces; proc(5) counts from 1
    if fields[0] in {"Z", "X"}:
        return None
    return f"{boot}:{fields[19]}"


def running() -> list[int]:
    """Every process there is, as far as we may see."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def group_members(leader: int) -> list[int]:
    """Processes of the process group `leader` that still run, the leader included."""
    members = []
    for pid in running():
        with suppress(OSError):
            if os.getpgid(pid) == leader and identity(pid) is not None:
                members.append(pid)
    return members


def stop_group(
    process: subprocess.Popen[bytes], *, first: signal.Signals = signal.SIGTERM, timeout_s: float = 30.0
) -> bool:
    """Ask the leader with `first`, wait, then SIGKILL whatever is left of its group. True if the asking was enough."""
    ask(process, first)
    return finish(process, timeout_s=timeout_s)


def ask(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Send `number` to the leader only: Celery's pool processes must not see SIGTERM before their master has."""
    if process.poll() is None:
        process.send_signal(number)


def finish(process: subprocess.Popen[bytes], *, timeout_s: float) -> bool:
    """Wait for the leader, then SIGKILL what is left of its group. True if it left by itself within `timeout_s`."""
    try:
        process.wait(timeout_s)
        willing = True
    except subprocess.TimeoutExpired:
        willing = False
    kill_group(process.pid)
    process.wait()
    return willing


def kill_group(leader: int, *, timeout_s: float = 5.0) -> None:
    """SIGKILL the process group `leader` and wait until none of it runs."""
    deadline = time.monotonic() + timeout_s
    while group_members(leader) and time.monotonic() < deadline:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(leader, signal.SIGKILL)
        time.sleep(_POLL_S)
