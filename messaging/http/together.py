"""Work that comes one by one and is done several at a time, each told its own result.

Nobody waits for a group to fill: what came in one turn of the event loop begins at the end of that turn, and what
comes while as many groups are under way as may be begins as soon as one of them has ended. So one request alone is
a group of one, and the busier it gets the larger groups become.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


class Together(Generic[_T, _R]):
    """`work` done in threads, for up to `most` at a time, in up to `at_once` groups. Used from one event loop.

    `work` answers in the order of what it is given, an error standing for what could not be done. What it raises is
    raised for everyone of the group.
    """

    def __init__(self, work: Callable[[Sequence[_T]], Sequence[_R | Exception]], *, most: int, at_once: int) -> None:
        self._work = work
        self._most = most
        self._at_once = at_once
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="together")
        self._waiting: list[tuple[_T, asyncio.Future[_R]]] = []
        self._under_way = 0
        self._begins = False

    async def result(self, item: _T) -> _R:
        """What became of `item`; raises what stands for it, or for its whole group."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_R] = loop.create_future()
        self._waiting.append((item, future))
        self._begin_soon(loop)
        return await future

    def close(self) -> None:
        """Finish what is under way."""
        self._threads.shutdown()

    def _begin_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._waiting and not self._begins and self._under_way < self._at_once:
            self._begins = True
            loop.call_soon(self._begin, loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._begins = False
        group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
        self._under_way += 1
        done = loop.run_in_executor(self._threads, self._work, [item for item, _ in group])
        done.add_done_callback(lambda ended: self._end(loop, [future for _, future in group], ended))
        self._begin_soon(loop)

    def _end(
        self,
        loop: asyncio.AbstractEventLoop,
        futures: Sequence[asyncio.Future[_R]],
        ended: asyncio.Future[Sequence[_R | Exception]],
    ) -> None:
        self._under_way -= 1
        self._begin_soon(loop)
        if ended.cancelled():
            for future in futures:
                future.cancel()
            return
        error = ended.exception()
        results: Sequence[_R | BaseException] = [error] * len(futures) if error is not None else ended.result()
        for future, result in zip(futures, results, strict=True):
            if future.done():  # whoever asked has gone
                continue
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)
