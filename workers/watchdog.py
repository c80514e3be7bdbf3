"""A worker that is alive but does nothing is dead: it finds out by itself, says why, and ends.

Its supervisor starts it again, and what it held goes on elsewhere when leases have run out. Three things count as dead:

* there is work in its queues, there is room for it, and no task was begun or ended for a while;
* everything it may do at once is under way, and nothing of that was heard of for much longer;
* the event loop that everything is sent on does not answer.

An idle worker, a queue nobody reads on purpose, a broker or a database that is away are no reasons.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

_log = structlog.get_logger(__name__)

EXIT_CODE = 86
"""Of a worker that found itself dead."""
SILENT_LEASES = 10
"""A delivery of which nothing was heard for so many leases is stuck: it renews its lease three times in each."""
_LOOKS = 8
"""In the time after which a worker is dead."""
_DUMP_S = 0.5
STDERR = 2
"""Celery puts its logger in the place of `sys.stderr`, which a handler of faulthandler can't write to."""


@dataclass(frozen=True, kw_only=True)
class Activity:
    """What a worker's main process knows of its work."""

    begun: int
    """Tasks begun so far."""
    active: int
    """Tasks under way."""
    reserved: int
    """Tasks it has taken from the broker, those under way among them."""
    capacity: int
    """Tasks that may be under way at once."""
    queues: Sequence[str]
    """What it reads; none while it is told not to."""


class Idleness:
    """Whether a worker that should work does not."""

    def __init__(
        self,
        *,
        limit_s: float,
        waiting: Callable[[Sequence[str]], int | None],
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_s = limit_s
        self._waiting = waiting
        self._clock_s = clock_s
        self._seen: tuple[int, int, int] | None = None
        self._since_s = clock_s()
        self._looked_s = clock_s()

    def look(self, now: Activity) -> str | None:
        """Why it counts as dead, or None. `waiting` tells how many tasks queues hold, None where the broker is away.

        Nothing is held against it while it moves, is full, reads nothing, or has nothing to do; nor when nobody looked
        for as long: then it was this process that stood still, and it has gone on since.
        """
        at_s, seen = self._clock_s(), (now.begun, now.active, now.reserved)
        moved = seen != self._seen or at_s - self._looked_s > self._limit_s
        self._seen, self._looked_s = seen, at_s
        if moved or now.active >= now.capacity or not now.queues or not self._has_work(now):
            self._since_s = at_s
            return None
        if at_s - self._since_s < self._limit_s:
            return None
        return f"there was work for {at_s - self._since_s:.0f} s and no task was begun or ended"

    def _has_work(self, now: Activity) -> bool:
        return now.reserved > now.active or bool(self._waiting(now.queues))


@dataclass(frozen=True, kw_only=True)
class Signs:
    """How a process with an event loop tells that it is well."""

    loop_answers: Callable[[float], bool]
    """Whether the event loop answers within so many seconds; True where there is none yet."""
    silence_s: Callable[[], float]
    """For how long nothing was heard of the delivery heard of least; 0 where none is under way."""
    database_answers: Callable[[], bool]


class Vitals:
    """Whether what a process has under way goes on."""

    def __init__(
        self, signs: Signs, *, limit_s: float, silent_s: float, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._signs = signs
        self._limit_s = limit_s
        self._silent_s = silent_s
        self._clock_s = clock_s
        self._answered_s = clock_s()
        self._looked_s = clock_s()

    def look(self, patience_s: float) -> str | None:
        """Why it counts as dead, or None. Waits up to `patience_s` for the event loop."""
        if self._clock_s() - self._looked_s > self._limit_s:
            self._answered_s = self._clock_s()  # we stood still ourselves
        answers = self._signs.loop_answers(patience_s)
        self._looked_s = self._clock_s()
        if answers:
            self._answered_s = self._looked_s
        elif self._looked_s - self._answered_s >= self._limit_s:
            return f"the event loop has not answered for {self._looked_s - self._answered_s:.0f} s"
        silent_s = self._signs.silence_s()
        if silent_s > self._silent_s and self._signs.database_answers():
            return f"nothing was heard of a delivery for {silent_s:.0f} s"
        return None


class Watchdog:
    """Looks at intervals, in a thread of its own, and ends the process when a look finds it dead."""

    def __init__(
        self,
        look: Callable[[float], str | None],
        *,
        limit_s: float,
        children: Callable[[], Sequence[int]] = lambda: (),
        alive_file: Path | None = None,
        is_stopping: Callable[[], bool] = lambda: False,
        never_forks: bool = False,
    ) -> None:
        """`never_forks`: let the interpreter end the process where a call lets no other thread run, ours neither.

        Not in one that forks: its children would wait for ever for a thread of faulthandler that they don't have
        (CPython 3.11, Modules/faulthandler.c, `cancel_dump_traceback_later`).
        """
        self._look = look
        self._limit_s = limit_s
        self._children = children
        self._alive_file = alive_file
        self._is_stopping = is_stopping
        self._never_forks = never_forks

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        pause_s = self._limit_s / _LOOKS
        while not self._is_stopping():
            if self._never_forks:
                faulthandler.dump_traceback_later(2 * self._limit_s + pause_s, exit=True, file=STDERR)
            time.sleep(pause_s)
            try:
                reason = self._look(pause_s)
            except Exception:  # noqa: BLE001  whatever it is, it is not what we look for
                _log.exception("The watchdog could not look.")
                continue
            if reason is not None and not self._is_stopping():
                die(reason, self._children())
            if self._alive_file is not None:
                with suppress(OSError):  # not there yet, or gone: only who is ready is alive
                    os.utime(self._alive_file)
        if self._never_forks:
            faulthandler.cancel_dump_traceback_later()


def end_within(limit_s: float, children: Callable[[], Sequence[int]]) -> None:
    """End this process, which was asked to stop, if it is still there after `limit_s` seconds."""

    def end() -> None:
        die(f"it was asked to stop {limit_s:.0f} s ago", children())

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()


def die(reason: str, children: Sequence[int]) -> None:
    """End this process and its `children` at once, saying why and where every thread stands."""
    _log.critical("This worker is dead and ends itself.", reason=reason, exit_code=EXIT_CODE)
    faulthandler.dump_traceback(file=STDERR, all_threads=True)
    for child in children:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    os._exit(EXIT_CODE)


def end_child(pid: int, silent_s: float) -> None:
    """End a pool's child of which nothing was heard; what it worked on is handed out again.

    It is asked first to say where its threads stand, which it can't where it was stopped.
    """
    _log.error("A process of the pool stands still and is ended.", pid=pid, silent_s=round(silent_s))
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR2)
        time.sleep(_DUMP_S)
        os.kill(pid, signal.SIGKILL)
