"""The database's time as this process knows it.

Which clock decides what is in `docs/explanation/time.md`. A machine's own clock may be minutes off, or step while a
process runs; a time limit, a signature or a token made with it would be wrong. So a process asks the database now and
then (`messaging.store.clock`) and counts on from its answer with the monotonic clock, which never steps.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """The database's time once it has been heard; until then this machine's."""

    def __init__(
        self, *, steady_s: Callable[[], float] = time.monotonic, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._steady_s = steady_s
        self._wall_s = wall_s
        self._offset_s: float | None = None
        self._heard_s = 0.0

    def hear(self, at_s: float, *, asked_s: float) -> float:
        """Take over what the database's clock said, in seconds since 1970, when it was asked at `asked_s`.

        `asked_s` is a time of the steady clock (`time.monotonic`). Returns by how many seconds this machine's clock is
        ahead, as exactly as half a round trip allows.
        """
        answered_s = self._steady_s()
        self._offset_s = at_s - (asked_s + answered_s) / 2  # one assignment: other threads see the old or the new
        self._heard_s = answered_s
        return self._wall_s() - self.now_s()

    def age_s(self) -> float:
        """How long ago the database was heard; infinite before that."""
        return float("inf") if self._offset_s is None else self._steady_s() - self._heard_s

    def now_s(self) -> float:
        """Seconds since 1970."""
        offset_s = self._offset_s
        return self._wall_s() if offset_s is None else self._steady_s() + offset_s

    def now(self) -> datetime:
        """The time, in UTC."""
        return datetime.fromtimestamp(self.now_s(), UTC)


clock = Clock()
"""This process's. A forked child goes on with what its parent heard."""
