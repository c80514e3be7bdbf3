"""Beat's scheduler: Celery's, which keeps its times in a file, without its hurry."""

from __future__ import annotations

from celery.beat import PersistentScheduler


class Scheduler(PersistentScheduler):
    """Sleeps until a task is due.

    Celery's own rises 10 ms before, and spends them asking again and again: with a sweep each second that was most of
    what beat cost.
    """

    def adjust(self, n: float, drift: float = 0.0) -> float:  # noqa: ARG002  Celery's signature
        """As long as is left, and not a moment less."""
        return n
