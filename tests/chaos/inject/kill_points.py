"""Points of a worker's work at which it can be told to die, by their names."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

AFTER_SENDING_S = 0.05
"""A request has left by then; its stand-in must answer later than that."""

POINTS = (
    "intake_before_commit",
    "intake_after_commit",
    "fanout_before_commit",
    "fanout_after_commit",
    "before_claim",
    "after_claim",
    "request_left",
    "after_answer",
    "before_commit",
    "after_commit",
)


def reach(point: str) -> None:
    """Die here, if somebody asked for it: the whole process group, as when a machine goes."""
    try:
        (Path(os.environ["CHAOS_DIR"]) / f"kill.{point}").unlink()
    except FileNotFoundError:
        return
    os.killpg(os.getpgid(0), signal.SIGKILL)


def patches() -> Iterator[tuple[str, Callable[[ModuleType], None]]]:
    """Module names, and what is done to them."""
    yield "workers.intake", _intake
    yield "workers.fanout", _fanout
    yield "workers.deliver", _deliver
    yield "workers.book", _book
    yield "workers.pipeline", _pipeline


def _intake(module: ModuleType) -> None:
    _after(module, "_accept", "intake_before_commit")
    _after(module, "take", "intake_after_commit")


def _fanout(module: ModuleType) -> None:
    _after(module, "_expand_page", "fanout_before_commit")
    expand = module.expand

    @functools.wraps(expand)
    def wrapped(engine: Any, settings: Any, publisher: Any, *rest: Any, **more: Any) -> Any:
        return expand(engine, settings, _Dying(publisher), *rest, **more)

    module.expand = wrapped  # type: ignore[attr-defined]


class _Dying:
    """A publisher in front of which a fan-out may die."""

    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher

    def publish(self, hints: Any) -> Any:
        reach("fanout_after_commit")
        return self._publisher.publish(hints)

    def room(self, queue: Any) -> Any:
        return self._publisher.room(queue)


def _deliver(module: ModuleType) -> None:
    opening = module.Deliverer._open  # a batch of few rows is claimed as it is leased

    @functools.wraps(opening)
    def wrapped(*args: Any) -> Any:
        reach("before_claim")
        return opening(*args)

    module.Deliverer._open = wrapped


def _book(module: ModuleType) -> None:
    book: Any = module.DatabaseBook
    claim, record, write = book.claim, book.record, book._write

    @functools.wraps(claim)
    async def claiming(self: Any, **how: Any) -> Any:
        reach("before_claim")
        window = await claim(self, **how)
        if window is not None and window.claimed:
            reach("after_claim")
        return window

    @functools.wraps(write)
    def writing(self: Any, connection: Any, answered: Any) -> None:
        write(self, connection, answered)
        reach("before_commit")

    @functools.wraps(record)
    async def recording(self: Any, answered: Any) -> None:
        await record(self, answered)
        reach("after_commit")

    book.claim, book.record, book._write = claiming, recording, writing


def _pipeline(module: ModuleType) -> None:
    """Both ways to send: by the chunk, and one request after the other without a task."""
    pipeline: Any = module.Pipeline
    send, begin, tell = pipeline._send, pipeline._begin, pipeline._tell_recorder
    on_its_way = _Soon("request_left", AFTER_SENDING_S)

    @functools.wraps(send)
    async def sending(self: Any, chunk: Any) -> Any:
        if any(delivery.address.startswith("poison-") for delivery in chunk):
            os.killpg(os.getpgid(0), signal.SIGKILL)
        on_its_way()
        return await send(self, chunk)

    @functools.wraps(begin)
    def beginning(self: Any, *of: Any) -> None:
        begin(self, *of)
        on_its_way()

    @functools.wraps(tell)
    def telling(self: Any, new: int) -> None:
        tell(self, new)
        reach("after_answer")

    pipeline._send, pipeline._begin, pipeline._tell_recorder = sending, beginning, telling


class _Soon:
    """Reach a point some time after the first of several calls."""

    def __init__(self, point: str, after_s: float) -> None:
        self._point, self._after_s = point, after_s
        self._is_coming = False

    def __call__(self) -> None:
        if not self._is_coming:
            self._is_coming = True
            asyncio.get_running_loop().call_later(self._after_s, self._come)

    def _come(self) -> None:
        self._is_coming = False
        reach(self._point)


def _after(module: ModuleType, name: str, point: str) -> None:
    original = getattr(module, name)

    @functools.wraps(original)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        reach(point)
        return answer

    setattr(module, name, wrapped)
