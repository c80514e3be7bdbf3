"""`nghttpd`, the server every peer sends to: C, one thread, TLS, 1,000 streams a connection.

It serves files. The path of a push has a token in it, so the token is put behind a `?` (the file is
`3/device/d`, empty as Apple's answer is); FCM's path is the same for all and its file is what FCM answers.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import cpu_s
from messaging.local.free_ports import free_ports

PACKAGE = "nghttp2-server"
TOKEN_PREFIX = "d?"  # noqa: S105  a part of a path
STREAMS = 1000
FCM_PATH = "/v1/projects/demo/messages:send"
FCM_ANSWER = b'{"name":"projects/demo/messages/0:1700000000000000%31bd1c9631bd1c96"}'
_START_S = 10.0


@dataclass(frozen=True)
class Nghttpd:
    """Where it listens, whom a client must trust, and its process."""

    origin: str
    key_file: Path
    ca_file: Path
    pid: int

    def cpu_s(self) -> float:
        """Processor seconds it has used."""
        return cpu_s(self.pid)


def program() -> str:
    """Where nghttpd is; ends with what to install where it is not."""
    found = shutil.which("nghttpd", path="/usr/bin:/usr/local/bin:/usr/sbin")
    if found is None:
        raise SystemExit(f"peers: nghttpd is missing. Install with: apt-get install --no-install-recommends {PACKAGE}")
    return found


@contextlib.contextmanager
def nghttpd(directory: Path, key_file: Path, cert_file: Path) -> Iterator[Nghttpd]:
    """One that runs, with its files in `directory`."""
    files = directory / "files"
    for path, answer in (("3/device/d", b""), (FCM_PATH.lstrip("/"), FCM_ANSWER)):
        (files / path).parent.mkdir(parents=True)
        (files / path).write_bytes(answer)
    (port,) = free_ports(1)
    command = [program(), "-a", "127.0.0.1", "-n", "1", "-m", str(STREAMS), "-W", "24", "-d", str(files)]
    with subprocess.Popen([*command, str(port), str(key_file), str(cert_file)]) as process:
        try:
            _wait(port, process)
            yield Nghttpd(f"https://127.0.0.1:{port}", key_file, cert_file, process.pid)
        finally:
            process.terminate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("nghttpd did not start; what it printed says why.") from None
            time.sleep(0.05)
        else:
            return
