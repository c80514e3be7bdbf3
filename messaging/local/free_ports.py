"""Ports on the loopback address: the same ones at every start, as long as nobody else took them."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

from messaging.local.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

LOOPBACK = "127.0.0.1"


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
    """`count` different ports nobody listens on; they are held together while being chosen."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((LOOPBACK, 0))
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()


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
