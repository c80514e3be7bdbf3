"""When requests run out of time: one timer for all of them.

A timer of the event loop per request costs a heap entry that is cancelled nearly always.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from workers.providers.http2_call import Call


class Deadlines:
    """Calls and the times by which each must have its answer."""

    def __init__(self, expire: Callable[[Call, float], None]) -> None:
        """`expire` gets a call whose time ran out, and the seconds it had."""
        self._expire = expire
        self._running: dict[Call, tuple[float, float]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = math.inf

    def add(self, call: Call, timeout_s: float) -> None:
        """Expire `call` in `timeout_s` seconds, unless it is forgotten before."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        self._running[call] = (deadline, timeout_s)
        if deadline < self._timer_at:
            self._wake_at(loop, deadline)

    def forget(self, call: Call) -> None:
        """`call` has ended."""
        self._running.pop(call, None)

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
        due = [(call, had_s) for call, (deadline, had_s) in self._running.items() if deadline <= now]
        for call, had_s in due:
            self.forget(call)
            self._expire(call, had_s)
        if self._running:
            self._wake_at(loop, min(deadline for deadline, _ in self._running.values()))
