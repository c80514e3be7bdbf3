"""A sandbox in a thread of this process, for tests and demonstrations."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue

from messaging.local.sandbox.server import SandboxAddresses, serve

_START_S = 30.0
_STOP_S = 10.0


@contextlib.contextmanager
def sandbox_in_thread(directory: Path) -> Iterator[SandboxAddresses]:
    """A running sandbox with its files in `directory`; it has stopped when the block is left.

    Raises what `serve` raises, and queue.Empty if it isn't ready within 30 s.
    """
    started: Queue[SandboxAddresses | BaseException] = Queue()
    stop = asyncio.Event()
    loop = asyncio.new_event_loop()

    def run() -> None:
        try:
            loop.run_until_complete(serve(directory, ready=started.put, stop=stop))
        except BaseException as error:  # noqa: BLE001  # handed to the thread that waits
            started.put(error)
        finally:
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    thread = threading.Thread(target=run, name="sandbox", daemon=True)
    thread.start()
    outcome = started.get(timeout=_START_S)
    if isinstance(outcome, BaseException):
        thread.join(_STOP_S)
        raise outcome
    try:
        yield outcome
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_STOP_S)
