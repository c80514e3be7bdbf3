"""A run's share of the requests an account may have in flight, over all workers and machines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from workers.pacing import Pacer

NO_SEAT_S = 1.0
"""How long a batch waits that found no seat free."""


@dataclass(kw_only=True, slots=True)
class Seats:
    """What one run holds; `gate` lets no more of its requests through at once."""

    pacer: Pacer
    provider_id: int
    most: int
    """Of all runs together."""
    holder: str
    for_s: float
    """The seats of a run that does not keep them are free after so many seconds."""
    clock_s: Callable[[], float] = time.monotonic
    count: int = 0
    gate: asyncio.Semaphore = field(default_factory=asyncio.Semaphore)
    _kept_s: float = 0.0

    async def take(self, wanted: int, *, high: bool) -> int:
        """How many were free, `wanted` at most. Bulk leaves one to the high lane, unless there is only one."""
        most = self.most if high else max(1, self.most - 1)
        self.count = await self._ask(min(wanted, most), most)
        self.gate = asyncio.Semaphore(self.count)
        return self.count

    async def keep(self) -> None:
        """Ask for them again, when a third of their time is over."""
        if self.clock_s() - self._kept_s >= self.for_s / 3:
            await self._ask(self.count, self.most)

    async def leave(self) -> None:
        """Free them."""
        if self.count:
            await self.pacer.leave(self.provider_id, self.count, holder=self.holder)

    async def _ask(self, wanted: int, most: int) -> int:
        self._kept_s = self.clock_s()
        return await self.pacer.seats(self.provider_id, wanted, most=most, holder=self.holder, for_s=self.for_s)
