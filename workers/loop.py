"""One event loop in a thread for the lifetime of a worker process, so that connections live between tasks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

_T = TypeVar("_T")


class LoopThread:
    """An event loop that runs until `close`."""

    def __init__(self, *, threads: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(threads, thread_name_prefix="database"))
        self._thread = threading.Thread(target=self._loop.run_forever, name="event loop", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of `work`, run on the loop; blocks the calling thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def answers(self, within_s: float) -> bool:
        """Whether the loop still takes turns: it does something within so many seconds."""
        answered = threading.Event()
        self._loop.call_soon_threadsafe(answered.set)
        return answered.wait(within_s)

    def close(self) -> None:
        """Stop the loop; what still runs on it is cancelled."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=5)
