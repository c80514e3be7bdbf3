"""Beat's schedule, in seconds that pass and not by the time of day."""

from __future__ import annotations

import time
from contextlib import suppress
from datetime import datetime
from typing import Any

from celery.beat import PersistentScheduler
from celery.schedules import schedstate, schedule

from messaging.clock import Clock

_steady = Clock()
_steady.hear(time.time(), asked_s=time.monotonic())


class Every(schedule):
    """Due again after so many seconds, whatever is done to this machine's clock meanwhile.

    Celery's own compares times of day: its clock set back by five minutes, beat would fall silent for as long.
    """

    def __init__(self, run_every_s: float) -> None:
        super().__init__(run_every_s, nowfun=_steady.now)
        self._run_every_s = run_every_s

    def is_due(self, last_run_at: datetime) -> schedstate:
        """As of `schedule`. A last time that lies ahead was written by a clock that has been set back since."""
        if self.maybe_make_aware(last_run_at) > self.now():
            return schedstate(is_due=True, next=self.seconds)
        return super().is_due(last_run_at)

    def __reduce__(self) -> tuple[type[Every], tuple[float]]:
        """For beat's file, without the clock."""
        return Every, (self._run_every_s,)


class Scheduler(PersistentScheduler):
    """Beat's own, which keeps its times in a file, without its hurry: it sleeps until a task is due.

    Celery's rises 10 ms before, and spends them asking again and again: with a sweep each second that was most of what
    beat cost.
    """

    def tick(self, *args: Any, **more: Any) -> Any:  # noqa: ANN401  Celery's signature
        """Do what is due, and leave a sign of life for whoever watches: see `messaging health --role beat`."""
        sign = getattr(self.app, "ready_file", None)
        if sign is not None:
            with suppress(OSError):
                sign.parent.mkdir(parents=True, exist_ok=True)
                sign.touch()
        return super().tick(*args, **more)

    def adjust(self, n: float, drift: float = 0.0) -> float:  # noqa: ARG002  Celery's signature
        """As long as is left, and not a moment less."""
        return n
