"""Requests that are begun and not awaited: waiting for several of them, and the work that some of them still need."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog

from messaging.outcome import Action, Outcome
from workers.providers.base import Recipient, StartingAdapter

_log = structlog.get_logger(__name__)


async def each_of(adapter: StartingAdapter, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
    """The outcomes of a request to each of `recipients`, begun at once, in order."""
    loop = asyncio.get_running_loop()
    futures: list[asyncio.Future[Outcome]] = [loop.create_future() for _ in recipients]

    def tell(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
        if not future.done():  # whoever asked has gone
            future.set_result(outcome)

    for recipient, future in zip(recipients, futures, strict=True):
        adapter.start(prepared, recipient, functools.partial(tell, future))
    return [await future for future in futures]


class Background:
    """Requests that take more than one step: kept until they end, and reported whatever happens."""

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
