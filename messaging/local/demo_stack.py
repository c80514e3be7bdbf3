"""The stack under the demonstration: `messaging up` in a process of its own, on a fresh directory."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from messaging.errors import MessagingError

_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 90.0
_SHOWN_LINES = 15


class DemoError(MessagingError):
    """The demonstration can't go on; the message says at which step and where to look."""


class DemoStack:
    """A running stack: `runtime` is the content of its `runtime.json`."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self.runtime: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self._output: IO[bytes] | None = None

    def start(self, waiting: Callable[[float], None]) -> float:
        """Seconds until the stack was ready; `waiting` is called meanwhile. Raises `DemoError`."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        output = self.data_dir / "up.out"
        self._output = output.open("wb")
        started = time.monotonic()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "messaging.cli.main", "up", "--data-dir", str(self.data_dir), "--sandbox"],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches us alone, and we stop it in order
        )
        runtime = self.data_dir / "runtime.json"
        while not runtime.exists():
            elapsed_s = time.monotonic() - started
            if self._process.poll() is not None or elapsed_s > _START_TIMEOUT_S:
                last = output.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN_LINES:]
                raise DemoError("The stack did not start:\n" + "\n".join(last) + f"\nIts logs are in {self.data_dir}.")
            waiting(elapsed_s)
            time.sleep(0.2)
        self.runtime = json.loads(runtime.read_text(encoding="utf-8"))
        return time.monotonic() - started

    def wait(self) -> None:
        """Return when the stack has ended, or at Ctrl-C."""
        if self._process is not None:
            self._process.wait()

    def stop(self) -> bool:
        """Stop the stack in order; False when it did not end well."""
        process = self._process
        if process is None:
            return True
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            ended = process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            ended = process.wait()
        if self._output is not None:
            self._output.close()
        return ended == 0
