"""Calls in flight, so that closing an adapter can wait for them, and what a call after that comes to."""

from __future__ import annotations

import asyncio
from types import TracebackType

from messaging.outcome import Action, Outcome

CLOSED = Outcome(Action.RECONNECT_RETRY, "closed", "not sent: the account changed and its old connections closed")
"""For a run that still holds an account as it was: its messages go back at no cost, for the account as it is."""


class InFlight:
    """Counts calls from their begin to their end: ``with in_flight: …``."""

    def __init__(self) -> None:
        self._calls = 0
        self._none = asyncio.Event()
        self._none.set()
        self.closing = False
        """Whether no more calls may begin."""

    def __enter__(self) -> None:
        self._calls += 1
        self._none.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._calls -= 1
        if not self._calls:
            self._none.set()

    async def close(self) -> None:
        """Return when the last call has ended; from now on none begins."""
        self.closing = True
        await self._none.wait()
