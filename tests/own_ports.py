"""Ports for one process of a test run alone: a port that was found free is still free when its server listens there."""

from __future__ import annotations

import os
from pathlib import Path

from messaging.local.free_ports import RANGE_VARIABLE

_LOWEST = 10_000
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LEAST = 500
"""Ports that the stacks of a run need."""


def take_own_ports() -> None:
    """Have this process, and every stack it starts, choose ports from a part of them that no other process has."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    below = int(_OUTGOING.read_text().split()[0]) if _OUTGOING.exists() else 0
    size = (below - _LOWEST) // count
    if number.isdecimal() and size >= _LEAST:
        first = _LOWEST + int(number) * size
        os.environ[RANGE_VARIABLE] = f"{first}-{first + size - 1}"
