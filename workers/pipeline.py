"""Send one leased batch: windows are claimed, sent and recorded, each overlapping the next.

No more rows are claimed and unrecorded at any time than the provider may have in flight, so a crash
leaves at most that many in doubt. Rows not claimed stay `queued`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from messaging.outcome import Action, Outcome
from messaging.status import DeliveryStatus
from messaging.store.batches import LeaseLostError
from messaging.store.dead_targets import Dead, guard_trips
from messaging.store.ledger import UNSENT, Claimed, Verdict, Window
from workers.health import Health
from workers.pace import SLOWED_S, Pace
from workers.pacing import Pacer
from workers.providers.base import Adapter, Recipient, StartingAdapter
from workers.retry import RetryPolicy, decide
from workers.seats import Seats

_log = structlog.get_logger(__name__)

_BREAK_S = 10.0
_SHORT_WAIT_S = 0.1
_WAIT_AT_MOST_S = 2.0
"""For tokens of an account that sends thousands a second; whatever takes longer is given back."""
_STOPPING = frozenset({Action.STOP_PROVIDER, Action.QUOTA, Action.REFRESH_AUTH_RETRY})
_Start = Callable[[object, Recipient, Callable[[Outcome], None]], None]
_ABOUT_THE_ACCOUNT = _STOPPING | {Action.RETRY_AFTER}


@dataclass(frozen=True, slots=True)
class Answered:
    """Outcomes to write together."""

    verdicts: Sequence[Verdict]
    dead: Sequence[Dead]
    suppressed: Sequence[tuple[int, str]]
    """Targets whose owner refuses, with the provider's reason."""
    withdraw: bool = False
    """The guard tripped: the provider stops and its recent dead verdicts are taken back."""
    actions: Mapping[int, Action] = field(default_factory=dict)
    """What was answered for each target that was not accepted."""


class Book(Protocol):
    """The database as the pipeline sees it; each call is one transaction that renews the lease."""

    async def claim(self, *, after: int, window: int) -> Window | None:
        """The next rows to send, or None when the message was paused, cancelled or has expired."""
        ...

    async def record(self, answered: Answered) -> None:
        """Write outcomes; raises `LeaseLostError` after keeping them as late evidence."""
        ...

    async def stop_provider(self, reason: str, action: Action | None) -> None:
        """Stop the provider for everybody, as long as `action` asks (None: an outage), and tell the operator."""
        ...

    async def renew(self) -> None:
        """Keep the lease; raises `LeaseLostError`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What stays the same while a batch is sent."""

    provider_id: int
    first_target: int
    open: int
    """Rows not settled."""
    request_size: int
    window: int
    """Rows claimed at once: half of what may be in flight, so that one is claimed while another is sent."""
    pace: Pace
    high: bool
    lease_s: float
    flush_s: float
    policy: RetryPolicy
    recipient: Callable[[Claimed], Recipient]
    alone: bool = False
    """Never more than one window in flight: the one that ends the worker is to be found out."""
    trial: bool = False
    """Send one request only, to see whether a stopped account works again."""


@dataclass(slots=True)
class Ending:
    """How the run ended."""

    sent: int = 0
    wait_s: float = 0.0
    """Until the rest should be tried."""
    waiting_for: str | None = None
    lost: bool = False
    """The lease ran out; whoever has it now goes on."""
    answered: int = 0
    """Calls the provider answered, and not for want of rights or credit."""
    failed: int = 0
    """Calls that failed for the provider's own reasons."""
    unreachable: int = 0
    """Recipients whom the account can't reach, and another may."""
    paused: bool = False
    """The account pauses or is stopped."""


class Pipeline:
    """One run over one batch."""

    def __init__(  # noqa: PLR0917  what a run is made of
        self,
        plan: Plan,
        book: Book,
        adapter: Adapter,
        prepared: object,
        pacer: Pacer,
        health: Health | None = None,
        seats: Seats | None = None,
    ) -> None:
        self._plan = plan
        self._book = book
        self._adapter = adapter
        self._prepared = prepared
        self._pacer = pacer
        self._health = health or Health()
        self._seats = seats
        self._start = adapter.start if seats is None and isinstance(adapter, StartingAdapter) else None
        self._answers: list[tuple[Claimed, Outcome]] = []
        self._in_hand = 0
        self._together = plan.window
        """So many answers are recorded at once: a window."""
        self._changed = asyncio.Event()
        self._room = asyncio.Event()
        self._claiming = True
        self._stopped: Verdict | None = None
        self._unsent = 0
        self._is_over = False
        self.ending = Ending()

    async def run(self) -> Ending:
        """Send what is due; returns when every claimed row is recorded, or the lease was lost."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._record_all())
                try:
                    await self._claim_all(group)
                finally:
                    self._claiming = False
                    self._changed.set()
        finally:
            self._is_over = True  # nobody writes any more: an answer that comes now is lost, its row in doubt
        if self._unsent:
            await self._pacer.give_back(self._plan.provider_id, self._unsent, self._plan.pace)
        return self.ending

    # -- claim -------------------------------------------------------------------------------------

    async def _claim_all(self, group: asyncio.TaskGroup) -> None:
        plan, cursor, left = self._plan, self._plan.first_target - 1, self._plan.open
        while left > 0 and not self._is_halted():
            await self._wait_for_room()
            if self._is_halted():
                return
            granted = await self._reserve(left)
            if not granted:
                return
            window = await self._claim_window(cursor, granted)
            if window is None:
                await self._pacer.give_back(plan.provider_id, granted, plan.pace)
                return
            cursor, left = window.cursor, left - granted
            self._in_hand += len(window.claimed)
            self._together = max(plan.window, len(window.claimed))
            # no more requests than may be in flight: that many rows are claimed at most
            if self._start is not None:
                for delivery in window.claimed:
                    self._begin(self._start, delivery, group)
            else:
                for start in range(0, len(window.claimed), plan.request_size):
                    group.create_task(self._send_chunk(window.claimed[start : start + plan.request_size]))
            if len(window.claimed) < granted:
                await self._pacer.give_back(plan.provider_id, granted - len(window.claimed), plan.pace)
            if window.exhausted or (plan.trial and window.claimed):
                return

    async def _reserve(self, left: int) -> int:
        """Tokens for a window; 0 where the rest is to be given back until there are some.

        Where tokens are what limits, everything that may be in flight is claimed at once: there is nothing to overlap.
        """
        plan, waited_s = self._plan, 0.0
        wanted = min(plan.request_size if plan.trial else plan.window, left)
        while not self._is_halted():
            grant = await self._pacer.reserve(plan.provider_id, wanted, pace=plan.pace, high=plan.high)
            if grant.granted:
                return grant.granted
            waited_s += grant.wait_s
            if grant.wait_s > _SHORT_WAIT_S or waited_s > _WAIT_AT_MOST_S:
                self._wait(grant.wait_s, grant.waiting_for)
                return 0
            await asyncio.sleep(grant.wait_s)  # to end this run and begin another would cost more
            if not plan.trial:
                wanted = min(max(plan.window, self._most() - self._in_hand), left)
        return 0

    async def _claim_window(self, cursor: int, size: int) -> Window | None:
        try:
            return await self._book.claim(after=cursor, window=size)
        except LeaseLostError:
            self._lose()
            return None

    async def _wait_for_room(self) -> None:
        while self._in_hand + self._plan.window > self._most() and not self._is_halted():
            self._room.clear()
            await self._room.wait()

    def _most(self) -> int:
        """So many rows may be claimed and not recorded."""
        return self._plan.window if self._plan.alone else 2 * self._plan.window

    # -- send --------------------------------------------------------------------------------------

    async def _send_chunk(self, chunk: Sequence[Claimed]) -> None:
        if self._seats is None:
            await self._send_now(chunk)
        else:
            async with self._seats.gate:
                await self._send_now(chunk)

    async def _send_now(self, chunk: Sequence[Claimed]) -> None:
        if self.ending.lost:
            return
        if self._stopped is not None:
            self._leave_unsent(chunk)
        else:
            self._answer(chunk, await self._send(chunk))

    def _leave_unsent(self, chunk: Sequence[Claimed]) -> None:
        """Claimed but not sent: back to waiting, at no cost."""
        self._unsent += len(chunk)
        self._answer(chunk, [Outcome(Action.RECONNECT_RETRY, UNSENT)] * len(chunk))

    def _answer(self, chunk: Sequence[Claimed], outcomes: Sequence[Outcome]) -> None:
        self._answers.extend(zip(chunk, outcomes, strict=True))
        self._tell_recorder(len(chunk))

    def _tell_recorder(self, new: int) -> None:
        answered = len(self._answers)
        # the first answer starts the clock, a full window ends it: no need to wake anybody in between
        if answered <= new or answered >= self._together or answered >= self._in_hand:
            self._changed.set()

    def _begin(self, start: _Start, delivery: Claimed, group: asyncio.TaskGroup) -> None:
        """Send to one whose adapter needs no task for that, as long as it is accepted."""
        if self.ending.lost:
            return
        if self._stopped is not None:
            self._leave_unsent((delivery,))
            return

        def done(outcome: Outcome) -> None:
            if self._is_over:
                return
            if outcome.action is Action.ACCEPTED:
                self._health.note(outage=False)
                self.ending.answered += 1
                self._answers.append((delivery, outcome))
                self._tell_recorder(1)
                return
            note = self._note_and_answer(delivery, outcome)
            try:
                group.create_task(note)
            except RuntimeError:  # the run is being given up, with this row in doubt
                note.close()

        try:
            start(self._prepared, self._plan.recipient(delivery), done)
        except Exception:  # noqa: BLE001  as in `_send`
            self._answer((delivery,), self._failed(1))

    async def _note_and_answer(self, delivery: Claimed, outcome: Outcome) -> None:
        await self._note((outcome,))
        self._answer((delivery,), (outcome,))

    def _failed(self, count: int) -> Sequence[Outcome]:
        _log.exception("The adapter failed; whether it sent is unknown.", provider=self._plan.provider_id)
        return [Outcome(Action.AMBIGUOUS_RETRY, "adapter_error", "The adapter failed; see the log.")] * count

    async def _send(self, chunk: Sequence[Claimed]) -> Sequence[Outcome]:
        recipients = [self._plan.recipient(delivery) for delivery in chunk]
        try:
            outcomes = await self._adapter.send(self._prepared, recipients)
            outcomes = [outcome for _, outcome in zip(recipients, outcomes, strict=True)]
        except Exception:  # noqa: BLE001  third-party adapters may raise anything; the row must not be lost
            return self._failed(len(chunk))
        await self._note(outcomes)
        return outcomes

    async def _note(self, outcomes: Sequence[Outcome]) -> None:
        """See what the answer to one call says about the account."""
        outage = all(outcome.outage for outcome in outcomes)
        if outage:
            self.ending.failed += 1
        if self._health.note(outage=outage):
            await self._pause(outcomes[0])
        for outcome in outcomes:
            if outcome.one_route:
                self.ending.unreachable += 1
            elif outcome.action in _ABOUT_THE_ACCOUNT:
                await self._heed(outcome)
        if not outage and outcomes[0].action not in _STOPPING:
            self.ending.answered += 1

    async def _pause(self, outcome: Outcome) -> None:
        """Open the account's breaker: nothing works there for a while, for anybody."""
        if self._stopped is not None:
            return
        reason = f"It is out of order. {outcome.code}: {outcome.reason}"
        self._stopped = decide(_NOBODY, Outcome(Action.STOP_PROVIDER, outcome.code), self._plan.policy, random.uniform)
        self.ending.paused = True
        self._wait(_BREAK_S, "the provider, which is out of order")
        await self._book.stop_provider(reason, None)

    async def _heed(self, outcome: Outcome) -> None:
        """Stop this run, and everybody's, where the answer is about the account rather than the recipient."""
        if self._stopped is not None:
            return
        if outcome.action is Action.RETRY_AFTER:
            verdict = decide(_NOBODY, self._with_delay(outcome), self._plan.policy, random.uniform)
            self._stopped = verdict
            self._wait(verdict.wait_s, f"the provider's limit ({outcome.code or 'throttled'})")
            if self._was_too_fast(outcome):
                await self._pacer.slow(self._plan.provider_id, self._plan.pace)
            else:
                await self._pacer.pause(self._plan.provider_id, verdict.wait_s)
        elif outcome.action in _STOPPING:
            self._stopped = decide(_NOBODY, outcome, self._plan.policy, random.uniform)
            reason = f"{outcome.code}: {outcome.reason}".strip(": ")
            self.ending.paused = True
            self._wait(self._stopped.wait_s, f"the provider, stopped: {reason}")
            quota = outcome.action is Action.QUOTA
            await self._book.stop_provider(reason, Action.QUOTA if quota else Action.STOP_PROVIDER)

    def _was_too_fast(self, outcome: Outcome) -> bool:
        """The account's rate is found by trying, and this was above it."""
        return self._plan.pace.is_adaptive and outcome.action is Action.RETRY_AFTER and not outcome.retry_after_s

    def _with_delay(self, outcome: Outcome) -> Outcome:
        return replace(outcome, retry_after_s=SLOWED_S) if self._was_too_fast(outcome) else outcome

    # -- record ------------------------------------------------------------------------------------

    async def _record_all(self) -> None:
        renewed = time.monotonic()
        while self._claiming or self._in_hand:
            await self._wait_for_answers()
            if self.ending.lost:
                return
            if self._seats is not None:
                await self._seats.keep()
            batch, self._answers = self._answers, []
            try:
                if batch:
                    await self._book.record(await self._judge(batch))
                    renewed = time.monotonic()
                elif time.monotonic() - renewed > self._plan.lease_s / 3:
                    await self._book.renew()
                    renewed = time.monotonic()
            except LeaseLostError:
                self._lose()
                return
            self._in_hand -= len(batch)
            self.ending.sent += len(batch)
            self._room.set()

    async def _wait_for_answers(self) -> None:
        """Until a window is answered, nothing more is in flight, or the oldest answer has waited long enough."""
        deadline: float | None = None
        while True:
            answered = len(self._answers)
            if answered >= self._together or (answered and answered >= self._in_hand):
                return
            if not self._claiming and not self._in_hand:
                return
            now = time.monotonic()
            if answered and deadline is None:
                deadline = now + self._plan.flush_s
            if deadline is not None and now >= deadline:
                return
            wait_s = self._plan.lease_s / 3 if deadline is None else deadline - now
            self._changed.clear()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _judge(self, batch: Sequence[tuple[Claimed, Outcome]]) -> Answered:
        plan = self._plan
        verdicts = [self._verdict(delivery, outcome) for delivery, outcome in batch]
        others = [(d, o) for d, o in batch if o.action is not Action.ACCEPTED]  # few, as a rule
        dead = [(d, o) for d, o in others if o.action is Action.DISABLE_TARGET]
        refused = [(d.target_id, o.code) for d, o in others if o.action is Action.SUPPRESS_TARGET]
        told = len(batch) - len(others) + sum(1 for _, outcome in others if outcome.action in _TOLD)
        withdraw = False
        if told:
            sums = await self._pacer.tally(plan.provider_id, sent=told, dead=len(dead))
            withdraw = bool(dead) and guard_trips(*sums)
        if withdraw:
            doubted = {d.target_id for d, _ in dead}
            verdicts = [_waiting(v, wait_s=30.0) if v.target_id in doubted else v for v in verdicts]
            self._stopped = self._stopped or verdicts[0]
            self.ending.paused = True
            self._wait(30.0, "the provider, stopped: it called most addresses dead")
            dead = []
        actions = {d.target_id: o.action for d, o in others}
        return Answered(verdicts, [Dead(d.target_id, o.dead_since) for d, o in dead], refused, withdraw, actions)

    def _verdict(self, delivery: Claimed, outcome: Outcome) -> Verdict:
        if outcome.code == UNSENT and self._stopped is not None:
            return Verdict(
                delivery.target_id,
                DeliveryStatus.RETRYING,
                wait_s=self.ending.wait_s,
                refund=1,
                error_code=UNSENT,
                error=f"Waits for {self.ending.waiting_for}.",
            )
        if self._plan.trial and outcome.outage and outcome.action is Action.RETRY:
            # it was sent to find out about the account, however often that takes: no attempt of its own
            return Verdict(delivery.target_id, DeliveryStatus.RETRYING, _BREAK_S, 1, 0, outcome.code, outcome.reason)
        return decide(delivery, self._with_delay(outcome), self._plan.policy, random.uniform)

    # -- ends --------------------------------------------------------------------------------------

    def _is_halted(self) -> bool:
        return self.ending.lost or self._stopped is not None

    def _wait(self, wait_s: float, waiting_for: str) -> None:
        self.ending.wait_s, self.ending.waiting_for = wait_s, waiting_for
        self._room.set()

    def _lose(self) -> None:
        self.ending.lost = True
        self._in_hand = 0
        self._room.set()
        self._changed.set()


_TOLD = frozenset({Action.ACCEPTED, Action.DISABLE_TARGET, Action.REJECT_MESSAGE, Action.SUPPRESS_TARGET})
"""Answers that say something about the address."""

_NOBODY = Claimed.nobody()


def _waiting(verdict: Verdict, *, wait_s: float) -> Verdict:
    return Verdict(
        verdict.target_id,
        DeliveryStatus.RETRYING,
        wait_s=wait_s,
        refund=1,
        error_code=verdict.error_code,
        error="The provider called most addresses dead; its verdict is not believed.",
    )
