"""One stack per data directory, and nothing left of one that was killed."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from messaging.local.children import group_members, identity, kill_group
from messaging.local.errors import AlreadyRunningError
from messaging.local.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterator

_POLL_S = 0.05


@contextmanager
def only_one(run_dir: Path) -> Iterator[None]:
    """Hold the directory; raises AlreadyRunningError naming the process that holds it.

    The kernel drops the lock with the process, so one that was killed stands in nobody's way.
    """
    path = run_dir / "up.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise AlreadyRunningError(
                f"`messaging up` already runs on {run_dir.parent} (pid {holder}). "
                f"Stop it with `kill {holder}`, or choose another --data-dir."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def record(run_dir: Path, name: str, pid: int) -> None:
    """Note that `pid` is our process `name`."""
    write_private(run_dir / f"{name}.pid", json.dumps({"pid": pid, "identity": identity(pid)}))


def forget(run_dir: Path, name: str) -> None:
    """The process `name` has been stopped."""
    (run_dir / f"{name}.pid").unlink(missing_ok=True)


def stop_leftovers(run_dir: Path, *, timeout_s: float = 10.0) -> list[str]:
    """Stop what a killed stack left running on this directory; the names of what was found.

    A recorded number counts only if it is still the same process, or if the process is gone and its group still holds
    processes that work in this directory.
    """
    left: dict[str, int] = {}
    for path in sorted(run_dir.glob("*.pid")):
        with suppress(ValueError, KeyError, TypeError):
            noted = json.loads(path.read_text(encoding="utf-8"))
            pid = int(noted["pid"])
            now = identity(pid)
            if now is not None and now == noted["identity"]:
                os.kill(pid, signal.SIGINT if path.stem == "postgres" else signal.SIGTERM)
                left[path.stem] = pid
            elif now is None and any(_works_in(member, run_dir.parent) for member in group_members(pid)):
                left[path.stem] = pid
        path.unlink()
    deadline = time.monotonic() + timeout_s
    while any(identity(pid) is not None for pid in left.values()) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for pid in left.values():
        kill_group(pid)
    return list(left)


def _works_in(pid: int, directory: Path) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink().is_relative_to(directory.resolve())
    return False
