"""Hints on their way to the broker: published beside the request, many at a time, never in a caller's way.

What is lost here (the broker is away, the process dies) costs the time until the next sweep.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence

import structlog

from messaging.publish import Publisher
from messaging.store.batches import Hint

_log = structlog.get_logger(__name__)
_AT_ONCE = 500
_PAUSE_S = 0.005
"""Between two publications: an idle system publishes at once, a busy one several hints together."""
_MOST_WAITING = 10_000


class Outbox:
    """A thread that publishes what requests leave here."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._waiting: queue.Queue[Hint | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def leave(self, hints: Sequence[Hint]) -> None:
        """Publish `hints` soon. When too many wait already, they are left to the sweep."""
        try:
            for hint in hints:
                self._waiting.put_nowait(hint)
        except queue.Full:
            _log.warning("Too many hints wait for the broker; the sweep will publish the rest.", waiting=_MOST_WAITING)

    def close(self) -> None:
        """Publish what is waiting, then stop; waits five seconds at most."""
        try:
            self._waiting.put(None, timeout=1)
        except queue.Full:
            return
        self._thread.join(5)
        self._publisher.close()

    def _run(self) -> None:
        while True:
            taken = [self._waiting.get()]
            while len(taken) < _AT_ONCE and taken[-1] is not None:
                try:
                    taken.append(self._waiting.get_nowait())
                except queue.Empty:
                    break
            hints = [hint for hint in taken if hint is not None]
            try:
                self._publisher.publish(hints)
            except Exception:  # noqa: BLE001  the thread must live: the sweep repeats what was not published
                _log.exception("Hints could not be published; the sweep will.", hints=len(hints))
            if taken[-1] is None:
                return
            time.sleep(_PAUSE_S)
