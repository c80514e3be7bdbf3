"""Programs of the operating system as servers: started on loopback, waited for, and ended by their process id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

_START_S = 60.0
_STOP_S = 15.0
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin"])
"""Debian keeps servers where an ordinary user's PATH does not look."""


def program(name: str) -> str:
    """The path of a program; the test fails with its package's name where there is none."""
    found = shutil.which(name, path=_PATH)
    if found is None:
        pytest.fail(f"{name} is not installed; `make test-system` names the packages")
    return found


def answers(port: int) -> bool:
    """Whether somebody listens on the port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextlib.contextmanager
def running(
    command: Sequence[str], *, port: int, log: Path, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """`command` while the block runs, from the moment it listens on `port`; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=None if env is None else dict(env),
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + _START_S
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{command[0]} does not listen:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.02)
        yield process
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process we started: asked first, then made to."""
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
