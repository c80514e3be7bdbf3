"""When requests run out of time: one timer for all of them.

A timer of the event loop per request costs a heap entry that is cancelled nearly always.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from workers.providers.http2_call import Call


class Deadlines:
    """Calls that are under way, and the times by which each must have its answer."""

    def __init__(self, expire: Callable[[Call], None]) -> None:
        """`expire` gets a call whose time ran out."""
        self.under_way: set[Call] = set()
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def add(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        """Expire `call` at its deadline, unless it ends before."""
        self.under_way.add(call)
        if call.deadline_s < self._timer_at:
            self._wake_at(loop, call.deadline_s)

    def stop(self) -> None:
        """Expire nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, math.inf

    def _wake_at(self, loop: asyncio.AbstractEventLoop, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = loop.call_at(when, self._look), when

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer, self._timer_at = None, math.inf
        now = loop.time()
        # a set has no order, and requests are to end in theirs
        for call in sorted((call for call in self.under_way if call.deadline_s <= now), key=lambda c: c.deadline_s):
            self._expire(call)
        if self.under_way:
            self._wake_at(loop, min(call.deadline_s for call in self.under_way))
