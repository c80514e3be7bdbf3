"""What processes use: processor time and memory, read from /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Processor seconds that a process and its children used so far, those of children that have ended included."""
    ticks = 0
    for each in [pid, *children(pid)]:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += sum(map(int, fields[11:15]))  # user, system, and both of the children it has waited for
    return ticks / os.sysconf("SC_CLK_TCK")


def ours_us(cpu_us: Mapping[str, float]) -> float:
    """The sum over all processes but the provider's, which is called `server`."""
    return sum(us for name, us in cpu_us.items() if name != "server")


def rss_mb(pid: int) -> float:
    """Memory of a process itself that is in use, in megabytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def children(pid: int) -> list[int]:
    """Processes that a process started, and theirs, and so on."""
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in tasks.read_text().split()]
    return found + [grandchild for child in found for grandchild in children(child)]
