"""A leased batch in the database: what the pipeline writes, one short transaction a call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine

from messaging.channel import Lane
from messaging.outcome import Action
from messaging.receipt import Event
from messaging.status import DeliveryStatus
from messaging.store import batches, dead_targets, ledger, ledger_at_once, provider_ids, provider_stops, suppressions
from messaging.store.batches import Lease, LeaseLostError
from messaging.store.engine import AWAY
from messaging.store.ledger import Verdict, Window
from messaging.store.suppressions import Scope
from workers.metrics import Counted
from workers.pipeline import Answered

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

_PATIENCE = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0, 8.0)
"""Pauses in seconds while the database is away: what was sent must not be forgotten."""


async def in_transaction(engine: Engine, work: Callable[[Connection], _T]) -> _T:
    """`work` in a transaction of its own, off the event loop."""

    def run() -> _T:
        with engine.begin() as connection:
            return work(connection)

    return await asyncio.get_running_loop().run_in_executor(None, run)


@dataclass
class DatabaseBook:
    """The `Book` of a batch this worker has leased."""

    engine: Engine
    owned: Lease
    lease_s: float
    on_trial: bool = False
    """The account is stopped, and this run finds out whether it works again."""
    to_topics: bool = False
    """Opt-outs of bulk mail are heeded whatever the lane."""
    finds_by_id: bool = False
    """The provider's receipts name its own message id only."""
    is_stopping: Callable[[], bool] = lambda: False
    """Whether nothing more is to be begun."""
    hear: Callable[[], None] = lambda: None
    """Called whenever something is done for the batch, with success or without."""
    window: Window | None = None
    """Rows that were claimed with the lease and are not yet sent."""
    is_done: bool = False
    """All is recorded, and the batch ended with it."""
    counts: Counted | None = None
    """Where what is claimed and recorded is counted."""
    in_hand: int = 0
    """Rows handed out by `claim` and not recorded."""

    async def claim(self, *, after: int, window: int) -> Window | None:
        """See `Book.claim`. None too while the database is away: what is in flight comes first; and when we stop."""
        self.hear()
        if self.is_stopping():
            return None
        if self.window is not None:
            claimed, self.window = self.window, None
            return self._counted(claimed)

        def work(connection: Connection) -> Window | None:
            return ledger.claim(
                connection,
                self.owned,
                after=after,
                window=window,
                bulk=self.to_topics or self.owned.lane is Lane.BULK,
                lease_s=self.lease_s,
                on_trial=self.on_trial,
            )

        try:
            return self._counted(await in_transaction(self.engine, work))
        except AWAY as error:
            _log.warning(
                "The database is away; nothing more is claimed.", batch_id=str(self.owned.ref), error=str(error)
            )
            return None

    def _counted(self, window: Window | None) -> Window | None:
        if window is not None and self.counts is not None:
            self.in_hand += len(window.claimed)
            self.counts.claimed(window)
        return window

    def leave(self) -> None:
        """Nothing of it is in hand any more, whatever was not recorded."""
        self._let_go(self.in_hand)

    def _let_go(self, count: int) -> None:
        self.in_hand -= count
        if self.counts is not None:
            self.counts.let_go(count)

    async def record(self, answered: Answered) -> None:
        """See `Book.record`. Waits for a database that is away, as long as the lease could last."""
        for pause_s in (*_PATIENCE, None):
            self.hear()
            try:
                await in_transaction(self.engine, lambda connection: self._write(connection, answered))
            except LeaseLostError:
                await self._keep_late(answered)
                raise
            except AWAY:
                if pause_s is None:
                    raise
                _log.warning("The database is away; outcomes wait.", batch_id=str(self.owned.ref), wait_s=pause_s)
                await asyncio.sleep(pause_s)
            else:
                if self.counts is not None:
                    self.counts.recorded(answered.verdicts, answered.actions)
                    self._let_go(len(answered.verdicts))
                return

    def _write(self, connection: Connection, answered: Answered) -> None:
        if self._is_all(answered.verdicts):
            self.is_done = ledger_at_once.finish(connection, self.owned, answered.verdicts, lease_s=self.lease_s)
        else:
            ledger.record(connection, self.owned, answered.verdicts, lease_s=self.lease_s)
        if self.finds_by_id:
            provider_ids.keep(connection, self.owned, answered.verdicts)
        if answered.dead:
            dead_targets.mark(connection, self.owned, answered.dead)
        for target_id, code in answered.suppressed:
            reason = f"{Event.UNSUBSCRIBED} {code}".strip()
            suppressions.add_targets(connection, [target_id], scope=Scope.EVERYTHING, reason=reason)
        if answered.withdraw:
            reason = "It called most addresses dead: check its certificate or key, environment and app id."
            waiting = dead_targets.withdraw(connection, self.owned.provider_id, reason=reason)
            self._count_stop("dead_addresses")
            _log.error("Provider stopped.", provider=self.owned.provider_id, reason=reason, waiting=waiting)

    def _is_all(self, verdicts: Sequence[Verdict]) -> bool:
        """Whether these are all that was open of a batch of few rows, and each was accepted."""
        return (
            len(verdicts) == self.owned.open <= ledger_at_once.FEW
            and not self.owned.deaths
            and all(verdict.status is DeliveryStatus.ACCEPTED for verdict in verdicts)
        )

    def put_back(self, connection: Connection, wait_s: float, waiting_for: str | None) -> None:
        """Let the rows that were claimed with the lease wait again, if they were not sent; raises `LeaseLostError`."""
        window, self.window = self.window, None
        if window is not None and window.claimed:
            reason = f"Waits for {waiting_for}." if waiting_for else "It was not sent yet."
            ledger_at_once.put_back(connection, self.owned, window, wait_s=wait_s, reason=reason, lease_s=self.lease_s)

    async def _keep_late(self, answered: Answered) -> None:
        settled = await in_transaction(
            self.engine, lambda connection: ledger.keep_late(connection, self.owned, answered.verdicts)
        )
        _log.warning(
            "The lease ran out before the answers came; they are kept as evidence.",
            batch_id=str(self.owned.ref),
            answers=len(answered.verdicts),
            settled=settled,
        )

    async def stop_provider(self, reason: str, action: Action | None) -> None:
        """See `Book.stop_provider`. A trial that failed makes the pause longer."""

        def work(connection: Connection) -> bool:
            return provider_stops.stop_for(
                connection, self.owned.provider_id, reason, action=action, again=self.on_trial
            )

        try:
            stopped = await in_transaction(self.engine, work)
        except AWAY as error:
            # said in the middle of sending: raised, it would end what else is in flight. The next answer says it again
            _log.warning("The database is away; the provider goes on.", batch_id=str(self.owned.ref), error=str(error))
            return
        if stopped:
            self._count_stop("outage" if action is None else action.value)
            _log.error("Provider stopped.", provider=self.owned.provider_id, reason=reason)

    def _count_stop(self, why: str) -> None:
        if self.counts is not None:
            self.counts.stopped(why)

    async def renew(self) -> None:
        """See `Book.renew`. A database that is away is no reason to stop what is in flight."""
        self.hear()

        def work(connection: Connection) -> None:
            batches.hold(connection, self.owned, lease_s=self.lease_s)

        try:
            await in_transaction(self.engine, work)
        except AWAY as error:
            _log.warning("The database is away; the lease runs.", batch_id=str(self.owned.ref), error=str(error))
