"""Ports on the loopback address: the same ones at every start, as long as nobody else took them."""

from __future__ import annotations

import errno
import json
import os
import secrets
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from messaging.errors import SettingsError
from messaging.local.private_files import write_private

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LOOPBACK = "127.0.0.1"
RANGE_VARIABLE = "LOCAL_PORTS"
"""Environment variable that says from which ports to choose: `20000-20999`."""
_LOWEST_PORT = 15_000
_OUTGOING_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
_HIGHEST_PORT = 65_535
_TRIES = 50
_CHANCE = secrets.SystemRandom()
_OURS: dict[int, int] = {}
"""Ports this process has chosen, each with the file descriptor that tells others so until it ends."""


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def take(port: int) -> bool:
    """Whether a server could listen on `port`; then no other process of ours is given it while this one lives."""
    return _claim(port) and is_free(port)


def _claim(port: int) -> bool:
    """Tell every other process that chooses ports that this one is taken; False where it has been told so itself.

    Between the choice of a port and the server's start lie seconds, in which others choose theirs: the sandbox of the
    same stack, or another stack. Who has chosen holds an abstract Unix socket named after the port (unix(7)): they
    belong to a network, as ports do, and end with their process. Only Linux has them.
    """
    if port in _OURS or sys.platform != "linux":
        return True
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0heliograph-port-{port}")
    except OSError:
        claim.close()
        return False
    _OURS[port] = claim.detach()
    return True


def free_ports(count: int) -> list[int]:
    """`count` different ports nobody listens on, and no other process of ours is about to (`take`).

    They lie below those the kernel gives to connections that go out: any of the many connections of a stack could be
    given one of them before its server starts. `LOCAL_PORTS` in the environment names others: whoever starts several
    stacks at once may give each a range of its own. Raises `SettingsError` where it can't be read, `OSError` where none
    of them is free.
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
    candidates = _candidates()
    refused: OSError | None = None
    for port in sorted(candidates, key=_OURS.__contains__):  # one that this process had before only where none is new
        probe = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            probe.close()
            refused = error
            continue
        if _claim(int(probe.getsockname()[1])):
            return probe
        probe.close()
    raise refused or OSError(errno.EADDRINUSE, "Other stacks have every port there is")


def _candidates() -> list[int]:
    """Ports to try, in an order of chance. The last is one of the kernel's choice (0), where no range is named."""
    said = os.environ.get(RANGE_VARIABLE, "")
    if not said:
        below = range(_LOWEST_PORT, max(_LOWEST_PORT, first_outgoing_port()))
        return [*_CHANCE.sample(below, min(_TRIES, len(below))), 0]
    first, _, last = said.partition("-")
    if not (first.isdecimal() and last.isdecimal() and 0 < int(first) <= int(last) <= _HIGHEST_PORT):
        raise SettingsError(f"{RANGE_VARIABLE} is '{said}', which is no range of ports. Write one as 20000-20999.")
    named = range(int(first), int(last) + 1)
    return _CHANCE.sample(named, len(named))


def first_outgoing_port() -> int:
    """The lowest port that the kernel gives to connections that go out; 0 where it does not say."""
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
    for port in kept.values():
        _claim(port)  # so that nobody else is given it; whether it is free is for the server to say
    for name in wanted:
        former = before.get(name)
        if name not in kept and former is not None and former not in kept.values() and take(former):
            kept[name] = former
    missing = [name for name in wanted if name not in kept]
    taken = set(kept.values())
    fresh = dict(zip(missing, (port for port in free_ports(len(wanted)) if port not in taken), strict=False))
    chosen = {name: kept.get(name) or fresh[name] for name in wanted}
    write_private(path, json.dumps(before | chosen))
    return chosen
