"""Which watch is kept over which process: a worker's own, and each child of its pool."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from collections.abc import Callable, Sequence

from sqlalchemy import text

from messaging.settings import Settings
from messaging.store.engine import AWAY
from workers.pulse import pulse
from workers.watchdog import SILENT_LEASES, STDERR, Activity, Idleness, Signs, Vitals, Watchdog, end_child
from workers.wiring import built

Children = Callable[[], Sequence[tuple[int, int]]]
"""(place in the pool, process id) of the children a worker has now; none where its pool is threads."""


def mind_worker(
    settings: Settings,
    activity: Callable[[], Activity],
    waiting: Callable[[Sequence[str]], int | None],
    children: Children,
) -> None:
    """Watch this worker from its main process, and the children of its pool."""
    idleness = Idleness(limit_s=settings.watchdog_s, waiting=waiting)
    vitals = _vitals(settings)
    nursery = Nursery(limit_s=settings.watchdog_s)

    def look(patience_s: float) -> str | None:
        nursery.look(children())
        return idleness.look(activity()) or vitals.look(patience_s)

    Watchdog(
        look,
        limit_s=settings.watchdog_s,
        children=lambda: [pid for _, pid in children()],
        alive_file=settings.ready_file,
        is_stopping=lambda: pulse.is_stopping,
        never_forks=not children(),
    ).start()


def mind_child(settings: Settings, place: int) -> None:
    """Let the main process know, from a thread of this child, that it lives. One that does not is ended."""
    faulthandler.register(signal.SIGUSR2, file=STDERR, all_threads=True)  # asked before it is ended
    vitals = _vitals(settings)
    pulse.beat(place, os.getpid())

    def look(patience_s: float) -> str | None:
        reason = vitals.look(patience_s)
        if reason is None:
            pulse.beat(place, os.getpid())
        return reason

    Watchdog(look, limit_s=settings.watchdog_s).start()


class Nursery:
    """Ends the children of a pool of which nothing was heard; the pool makes others."""

    def __init__(
        self,
        *,
        limit_s: float,
        end: Callable[[int, float], None] = end_child,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit_s = limit_s
        self._end = end
        self._clock_s = clock_s
        self._first_seen_s: dict[int, float] = {}
        self._looked_s = clock_s()

    def look(self, children: Sequence[tuple[int, int]]) -> None:
        """Look at each. One is given twice the time, as it ends itself where it can; a new one as long to begin."""
        now_s = self._clock_s()
        stood_still = now_s - self._looked_s > self._limit_s
        self._looked_s = now_s
        pids = {pid for _, pid in children}
        self._first_seen_s = {pid: self._first_seen_s.get(pid, now_s) for pid in pids}
        if stood_still:
            return
        for place, pid in children:
            silent_s = pulse.silence_s(place, pid)
            silent_s = now_s - self._first_seen_s[pid] if silent_s is None else silent_s
            if silent_s > 2 * self._limit_s:
                self._end(pid, silent_s)


def _vitals(settings: Settings) -> Vitals:
    def loop_answers(within_s: float) -> bool:
        wired = built()
        return wired is None or wired.loop.answers(within_s)

    def silence_s() -> float:
        wired = built()
        return 0.0 if wired is None else wired.deliverer.silence_s()

    def database_answers() -> bool:
        wired = built()
        if wired is None:
            return False
        try:
            with wired.engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except AWAY:
            return False
        return True

    signs = Signs(loop_answers=loop_answers, silence_s=silence_s, database_answers=database_answers)
    return Vitals(signs, limit_s=settings.watchdog_s, silent_s=SILENT_LEASES * settings.lease_s)
