"""How full a queue is, without asking for each message: asked once a second, and added to in between."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

_ASK_EVERY_S = 1.0


@dataclass(slots=True)
class _Reading:
    at_s: float
    waiting: int


@dataclass(frozen=True, kw_only=True)
class Gauge:
    """Lets so many into each queue that `mark` is not passed, as far as this process can know.

    What others put in within the second is not seen: with n processes a queue ends at most n such seconds above it.
    """

    mark: int
    clock_s: Callable[[], float] = time.monotonic
    _readings: dict[str, _Reading] = field(default_factory=dict)

    def admit(self, queue: str, wanted: int, depth: Callable[[], int]) -> int:
        """How many of `wanted` may go into the queue now; they are counted as if they had gone."""
        now = self.clock_s()
        reading = self._readings.get(queue)
        if reading is None or now - reading.at_s >= _ASK_EVERY_S:
            reading = self._readings[queue] = _Reading(now, depth())
        admitted = max(0, min(wanted, self.mark - reading.waiting))
        reading.waiting += admitted
        return admitted
