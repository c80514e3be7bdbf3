"""Connections kept for reuse: a few at a time, each for so many messages, none idle for long.

Users wait in line, and a connection in use may be promised to the next of them, so that what that one asks for can go
along with the last words of the one before.
"""

from __future__ import annotations

import asyncio
from collections import deque
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


@dataclass(eq=False)
class Waiter(Generic[C]):
    """Somebody in line."""

    wants: object
    turn: asyncio.Future[Slot[C] | None]
    """A connection that was promised, or None: there is room for one, to be found or opened."""


class Pool(Generic[C]):
    """At most `size` connections, reused last in, first out, so that surplus ones grow idle and are closed."""

    def __init__(self, open_: Callable[[], Awaitable[C]], *, size: int, max_uses: int, idle_s: float) -> None:
        self._open = open_
        self._max_uses = max_uses
        self._idle_s = idle_s
        self._size = self._free = size
        self._waiting: deque[Waiter[C]] = deque()
        self._idle: list[Slot[C]] = []
        self._closing: set[asyncio.Task[None]] = set()

    async def acquire(self, wants: object = None) -> Slot[C]:
        """A connection for one user, reused or new; waits while all are lent. Raises what opening raises.

        `wants` is shown to whom the connection may be promised by.
        """
        if self._free:
            self._free -= 1
        else:
            promised = await self._wait(wants)
            if promised is not None:
                return promised
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
            self._leave()
            raise

    def promise(self, slot: Slot[C], takes: Callable[[object], bool]) -> Waiter[C] | None:
        """Who is to have `slot` next: the first in line, if the connection `takes` what that one wants."""
        while self._waiting and self._waiting[0].turn.done():  # gone
            self._waiting.popleft()
        first = self._waiting[0] if self._waiting else None
        if first is None or first.wants is None or slot.uses + 1 >= self._max_uses or not takes(first.wants):
            return None
        return self._waiting.popleft()

    def release(self, slot: Slot[C], *, keep: bool, promised: Waiter[C] | None = None) -> None:
        """Give `slot` back; with `keep` it is reused unless it has served its number of messages.

        Whom it was `promised` gets it, or is first in line again where it can't be kept.
        """
        slot.uses += 1
        if promised is not None:
            gone = promised.turn.done()
            if keep and slot.connection.usable and not gone:
                promised.turn.set_result(slot)
                return
            keep = False  # whoever gets it next would hear what was asked for another
            if not gone:
                self._waiting.appendleft(promised)
        self._leave()
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
            if self._free:
                self._free -= 1
            else:
                await self._wait(None)
        while self._idle:
            slot = self._idle.pop()
            if slot.reaper is not None:
                slot.reaper.cancel()
            self._retire(slot)
        await asyncio.gather(*self._closing)

    async def _wait(self, wants: object) -> Slot[C] | None:
        waiter = Waiter[C](wants, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        try:
            return await waiter.turn
        except asyncio.CancelledError:
            if not waiter.turn.cancelled():  # its turn had come
                slot = waiter.turn.result()
                if slot is None:
                    self._leave()
                else:
                    self.release(slot, keep=False)
            raise

    def _leave(self) -> None:
        """Let the next one in."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.turn.done():
                waiter.turn.set_result(None)
                return
        self._free += 1

    def _reap(self, slot: Slot[C]) -> None:
        if slot in self._idle:
            self._idle.remove(slot)
            self._retire(slot)

    def _retire(self, slot: Slot[C]) -> None:
        task = asyncio.get_running_loop().create_task(slot.connection.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
