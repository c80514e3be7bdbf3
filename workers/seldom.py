"""Work that is asked for again and again, and need not be done each time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Seldom:
    """Does work unless it was done a moment ago in this process.

    What piled up while nobody worked, or is asked for by several at once, then costs next to nothing.
    """

    def __init__(self, pause_s: float, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        """Leave `pause_s` between the end of the work and its next beginning."""
        self._pause_s = pause_s
        self._clock_s = clock_s
        self._ended_s = float("-inf")
        self._at_work = threading.Lock()

    def do(self, work: Callable[[], object]) -> bool:
        """Do it now, or leave it and answer False: it ended too short ago, or another thread is at it."""
        if not self._at_work.acquire(blocking=False):
            return False
        try:
            if self._clock_s() - self._ended_s < self._pause_s:
                return False
            try:
                work()
            finally:
                self._ended_s = self._clock_s()
            return True
        finally:
            self._at_work.release()
