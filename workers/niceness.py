"""Make the niceness of a worker count: bulk gives way to a password code, where both want the same processor.

Linux shares the processor among sessions first (sched(7), "The autogroup feature"), each with a niceness of its own,
and a supervisor gives each process a session: `nice` then says something among the threads of one worker, and nothing
beside the others. Where processes have control groups, those decide (`cpu_shares` in `deploy/compose.yaml`).
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")


def make_niceness_count() -> None:
    """Give this process's session the niceness it has itself, where the session is its own; else do nothing."""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness > 0 and os.getsid(0) == os.getpid():
        with suppress(OSError):
            _AUTOGROUP.write_text(str(niceness), encoding="ascii")
