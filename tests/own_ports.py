"""Ports for one process of a test run alone: those of a stack that is away for a moment are free when it comes back."""

from __future__ import annotations

import os

from messaging.local.free_ports import RANGE_VARIABLE, first_outgoing_port

_LOWEST = 10_000
_LEAST = 500
"""Ports that the stacks of a run need."""


def take_own_ports() -> None:
    """Have this process, and every stack it starts, choose ports from a part of them that no other process has."""
    number = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    count = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    size = (first_outgoing_port() - _LOWEST) // count
    if number.isdecimal() and size >= _LEAST:
        first = _LOWEST + int(number) * size
        os.environ[RANGE_VARIABLE] = f"{first}-{first + size - 1}"
