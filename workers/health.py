"""Whether an account works: what a process saw of its calls in the last half minute."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

STREAK_CALLS = 5
STREAK_S = 3.0
"""So many calls, over so long, that failed and none between that did not: it is out of order. A connection that broke
with five hundred calls on it is one event, and no reason."""
SHARE_CALLS = 20
SHARE_S = 10.0
"""So many calls over so long are enough to judge by their share: more than half failed."""
WINDOW_S = 30.0
_STEP_S = 1.0


@dataclass(slots=True)
class _Step:
    """The calls of one second."""

    began_s: float
    calls: int = 0
    failed: int = 0


@dataclass(slots=True)
class Health:
    """Counts one account's calls; not per recipient, for a request may carry a thousand."""

    clock_s: Callable[[], float] = time.monotonic
    _steps: deque[_Step] = field(default_factory=deque)
    _streak: int = 0
    _streak_began_s: float = 0.0

    def note(self, *, outage: bool) -> bool:
        """Count a call that was answered, or failed for the provider's own reasons. True when the account should pause.

        After that it begins anew.
        """
        now_s = self.clock_s()
        step = self._steps[-1] if self._steps else None
        if step is None or now_s - step.began_s >= _STEP_S:
            while self._steps and now_s - self._steps[0].began_s > WINDOW_S:
                self._steps.popleft()
            step = _Step(now_s)
            self._steps.append(step)
        step.calls += 1
        if not outage:
            self._streak = 0
            return False
        step.failed += 1
        if not self._streak:
            self._streak_began_s = now_s
        self._streak += 1
        if not self._is_out_of_order(now_s):
            return False
        self._steps.clear()
        self._streak = 0
        return True

    def _is_out_of_order(self, now_s: float) -> bool:
        if self._streak >= STREAK_CALLS and now_s - self._streak_began_s >= STREAK_S:
            return True
        calls = sum(step.calls for step in self._steps)
        failed = sum(step.failed for step in self._steps)
        return calls >= SHARE_CALLS and now_s - self._steps[0].began_s >= SHARE_S and failed * 2 > calls
