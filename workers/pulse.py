"""A page of memory that a worker's processes share: who of them lives, and whether they are to stop.

Made before the pool forks. The children of a pool hear no signal when their worker is asked to leave, and a child that
stands still can't say so.
"""

from __future__ import annotations

import mmap
import struct
import time

_SLOTS = 512
_BEAT = struct.Struct("=qd")
"""Process id, and when it was last known to be alive (monotonic, the same in every process of a machine)."""


class Pulse:
    """What the processes of one worker know of each other."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, _BEAT.size * (_SLOTS + 1))

    def stop(self) -> None:
        """Tell every process that nothing more is to be begun. May be called in a signal handler."""
        self._page[0] = 1

    @property
    def is_stopping(self) -> bool:
        """Whether nothing more is to be begun."""
        return self._page[0] == 1

    def beat(self, slot: int, pid: int) -> None:
        """Put down that the process in that place of the pool lives."""
        if slot < _SLOTS:
            _BEAT.pack_into(self._page, _BEAT.size * (slot + 1), pid, time.monotonic())

    def silence_s(self, slot: int, pid: int) -> float | None:
        """For how long nothing was heard of the process; None where it never said anything."""
        if slot >= _SLOTS:
            return None
        said_by, at = _BEAT.unpack_from(self._page, _BEAT.size * (slot + 1))
        return time.monotonic() - at if said_by == pid else None


pulse = Pulse()
"""Of this worker."""
