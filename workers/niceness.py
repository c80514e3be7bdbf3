"""Make the niceness of a worker count: bulk gives way to a password code, where both want the same processor.

Linux shares the processor among sessions first (sched(7), "The autogroup feature"), each with a niceness of its own,
and a supervisor gives each process a session: `nice` then says something among the threads of one worker, and nothing
beside the others. Where processes have control groups, those decide (`cpu_shares` in `deploy/compose.yaml`).
"""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

_AUTOGROUP = Path("/proc/self/autogroup")
_CHANCE = secrets.SystemRandom()
_TRIES = 40
_PAUSE_S = (0.05, 0.25)
"""The kernel takes one such wish in a tenth of a second, of everybody together, from processes without CAP_SYS_ADMIN
(`proc_sched_autogroup_set_nice`); the workers of a stack become ready together."""


def make_niceness_count() -> None:
    """Give this process's session the niceness it has itself, where the session is its own; else do nothing."""
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    if niceness <= 0 or os.getsid(0) != os.getpid():
        return
    with suppress(OSError):
        for _ in range(_TRIES):
            try:
                _AUTOGROUP.write_text(str(niceness), encoding="ascii")
            except BlockingIOError:
                time.sleep(_CHANCE.uniform(*_PAUSE_S))
            else:
                return
