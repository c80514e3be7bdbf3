"""Work of an adapter that nobody awaits: kept until it ends, and reported whatever happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from messaging.outcome import Action, Outcome

_log = structlog.get_logger(__name__)


class Background:
    """Requests that take more than one step."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, work: Coroutine[Any, Any, Outcome], done: Callable[[Outcome], None]) -> None:
        """Run it on this event loop; `done` gets its outcome, an unknown one where it raises or is cancelled."""
        task = asyncio.get_running_loop().create_task(self._report(work, done))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _report(work: Coroutine[Any, Any, Outcome], done: Callable[[Outcome], None]) -> None:
        outcome = Outcome(Action.AMBIGUOUS_RETRY, "adapter_error", "The adapter failed; see the log.")
        try:
            outcome = await work
        except Exception:  # noqa: BLE001  whatever it is, the row must not be lost
            _log.exception("The adapter failed; whether it sent is unknown.")
        finally:
            done(outcome)
