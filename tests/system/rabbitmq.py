"""A RabbitMQ node of our own: its data in one folder, everything on loopback, ended by process id."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from messaging.local.children import group_members
from messaging.local.free_ports import free_ports
from tests.system.programs import answers, end, program

_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""Debian's own script in /usr/sbin insists on the account `rabbitmq`."""
_CONTROL = _SERVER.with_name("rabbitmqctl")
_START_S = 150.0
_STOP_S = 60.0


@dataclass
class RabbitMQ:
    """One node, which can be killed and started again on the same data."""

    folder: Path
    port: int
    distribution_port: int
    epmd_port: int
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """amqp://… of the node."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the node, and return when it takes connections."""
        with (self.folder / "node.log").open("ab") as output:
            self._process = subprocess.Popen(
                [str(_SERVER)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                env=self._env(),
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while not answers(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                log = (self.folder / "node.log").read_text(errors="replace")
                self.kill()
                pytest.fail(f"RabbitMQ does not start:\n{log[-3000:]}")
            time.sleep(0.1)

    def kill(self) -> None:
        """`kill -9` the node and what it started."""
        process, self._process = self._process, None
        if process is not None:
            self._finish(process)
        deadline = time.monotonic() + _STOP_S
        while answers(self.port) and time.monotonic() < deadline:  # its listener outlives the one we started
            time.sleep(0.05)

    def stop(self) -> None:
        """Let the node write down what it holds, and end it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
        self._finish(process)

    def queue_types(self, vhost: str = "/") -> dict[str, str]:
        """Type by name of a virtual host's queues."""
        listed = self._control("list_queues", "--quiet", "--no-table-headers", "-p", vhost, "name", "type")
        return dict(line.split("\t") for line in listed.splitlines())

    def add_vhost(self, name: str) -> str:
        """A virtual host where nobody has declared anything yet; its amqp://… address."""
        self._control("add_vhost", name)
        self._control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return self.url.removesuffix("/") + name

    def _control(self, *arguments: str) -> str:
        env = self._env()
        command = [str(_CONTROL), "--node", env["RABBITMQ_NODENAME"], *arguments]
        done = subprocess.run(
            command, env=env, cwd=self.folder, capture_output=True, text=True, timeout=150, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _finish(self, process: subprocess.Popen[bytes]) -> None:
        for member in group_members(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)
        process.wait()

    def _env(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith(("RABBITMQ_", "MESSAGING_"))}
        return own | {
            "HOME": str(self.folder),  # the cookie lies there
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_NODENAME": f"heliograph{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "node.pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq"),
            "RABBITMQ_CONF_ENV_FILE": str(self.folder / "no-such-file"),
        }


@contextlib.contextmanager
def rabbitmq(*settings: str) -> Iterator[RabbitMQ]:
    """A running node with these lines of configuration; nothing of it is left afterwards."""
    if not _SERVER.is_file():
        pytest.fail(f"{_SERVER} is not installed; `make test-system` names the packages")
    folder = Path(tempfile.mkdtemp(prefix="heliograph-rabbitmq-"))
    (folder / "enabled_plugins").write_text("[].\n")
    (folder / "rabbitmq.conf").write_text("".join(f"{line}\n" for line in settings))
    port, distribution_port, epmd_port = free_ports(3)
    # else the node leaves an epmd behind that nobody ends
    names = subprocess.Popen(
        [program("epmd"), "-address", "127.0.0.1", "-port", str(epmd_port)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    node = RabbitMQ(folder, port, distribution_port, epmd_port)
    try:
        deadline = time.monotonic() + _START_S
        while not answers(epmd_port) and time.monotonic() < deadline:
            time.sleep(0.02)
        node.start()
        yield node
    finally:
        node.stop()
        end(names)
        shutil.rmtree(folder, ignore_errors=True)
