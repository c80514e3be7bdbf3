"""Connections kept for reuse: a few at a time, each for so many messages, none idle for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Connection(Protocol):
    """What the pool needs of a connection."""

    @property
    def usable(self) -> bool:
        """Whether it is still open, as far as this side knows."""
        ...

    async def close(self) -> None:
        """End it politely; never raises."""
        ...

    def abort(self) -> None:
        """Drop it at once."""
        ...


C = TypeVar("C", bound=Connection)


@dataclass(eq=False)
class Slot(Generic[C]):
    """A connection lent to one user."""

    connection: C
    uses: int = 0
    """Times it was lent before."""
    reaper: asyncio.TimerHandle | None = field(default=None, repr=False)


class Pool(Generic[C]):
    """At most `size` connections, reused last in, first out, so that surplus ones grow idle and are closed."""

    def __init__(self, open_: Callable[[], Awaitable[C]], *, size: int, max_uses: int, idle_s: float) -> None:
        self._open = open_
        self._max_uses = max_uses
        self._idle_s = idle_s
        self._size = size
        self._free = asyncio.Semaphore(size)
        self._idle: list[Slot[C]] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def acquire(self) -> Slot[C]:
        """A connection for one user, reused or new; waits while all are lent. Raises what opening raises."""
        await self._free.acquire()
        try:
            while self._idle:
                slot = self._idle.pop()
                if slot.reaper is not None:
                    slot.reaper.cancel()
                if slot.connection.usable:
                    return slot
                slot.connection.abort()
            return Slot(await self._open())
        except BaseException:
            self._free.release()
            raise

    def release(self, slot: Slot[C], *, keep: bool) -> None:
        """Give `slot` back; with `keep` it is reused unless it has served its number of messages."""
        slot.uses += 1
        self._free.release()
        if not keep:
            slot.connection.abort()
        elif slot.uses >= self._max_uses or not slot.connection.usable:
            self._retire(slot)
        else:
            slot.reaper = asyncio.get_running_loop().call_later(self._idle_s, self._reap, slot)
            self._idle.append(slot)

    async def aclose(self) -> None:
        """Wait until every connection has been given back, then close them all."""
        for _ in range(self._size):
            await self._free.acquire()
        while self._idle:
            slot = self._idle.pop()
            if slot.reaper is not None:
                slot.reaper.cancel()
            self._retire(slot)
        await asyncio.gather(*self._closing)

    def _reap(self, slot: Slot[C]) -> None:
        if slot in self._idle:
            self._idle.remove(slot)
            self._retire(slot)

    def _retire(self, slot: Slot[C]) -> None:
        task = asyncio.get_running_loop().create_task(slot.connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
