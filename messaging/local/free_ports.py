"""Ports on the loopback address: the same ones at every start, as long as nobody else took them."""

from __future__ import annotations

import json
import secrets
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from messaging.local.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOOPBACK = "127.0.0.1"
_LOWEST_PORT = 15_000
_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_TRIES = 50


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """`count` different ports nobody listens on; they are held together while being chosen.

    They lie below those the kernel gives to connections that go out: between the choice and the server's start any of
    the many connections of a stack could be given one of them, and the server could not listen.
    """
    probes: list[socket.socket] = []
    try:
        probes.extend(_held() for _ in range(count))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def _held() -> socket.socket:
    """A socket bound to a port that nobody else has."""
    below = _first_outgoing_port()
    for attempt in range(_TRIES + 1):
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            # at last, and where there is no room below, one of the kernel's choice
            is_last = attempt == _TRIES or below <= _LOWEST_PORT
            probe.bind((LOOPBACK, 0 if is_last else _LOWEST_PORT + secrets.randbelow(below - _LOWEST_PORT)))
        except OSError:
            probe.close()
            if attempt == _TRIES:
                raise
        else:
            return probe
    raise AssertionError("unreachable")


def _first_outgoing_port() -> int:
    try:
        return int(_OUTGOING_PORTS.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 0


def remembered_ports(path: Path, names: Iterable[str], fixed: Mapping[str, int] | None = None) -> dict[str, int]:
    """A port for each name: that of `fixed`, else the one in the JSON file `path` where it is free, else a new one.

    The file (mode 0600) is brought up to date, so that a restart keeps the addresses others were given.
    """
    before: dict[str, int] = {}
    if path.exists():
        try:
            before = {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
        except (ValueError, AttributeError):
            before = {}  # written by a process that died half-way on a file system without atomic rename
    wanted = list(names)
    kept = dict(fixed or {})
    for name in wanted:
        port = before.get(name)
        if name not in kept and port is not None and port not in kept.values() and is_free(port):
            kept[name] = port
    missing = [name for name in wanted if name not in kept]
    fresh = dict(zip(missing, free_ports(len(missing)), strict=True))
    chosen = {name: kept.get(name) or fresh[name] for name in wanted}
    write_private(path, json.dumps(before | chosen))
    return chosen
