"""Deliver a batch: lease it, send what is due, give it back."""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Count
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine

from messaging import tracing, unsubscribe_links
from messaging.catalog import kind_of
from messaging.channel import Channel, Lane, OnUnknown
from messaging.clock import clock
from messaging.errors import ContentError
from messaging.ids import delivery_tag_prefix, delivery_uuid_prefix
from messaging.outcome import Action
from messaging.settings import Settings
from messaging.status import DeliveryStatus
from messaging.store import batches, failover, ledger, ledger_at_once, outgoing, provider_stops, providers, quarantine
from messaging.store.batches import BatchRef, Hint, Lease, LeaseLostError, Released
from messaging.store.engine import AWAY
from messaging.store.failover import Moved
from messaging.store.ledger import Claimed, Window
from messaging.store.outgoing import OutgoingMessage
from messaging.store.providers import ProviderAccount
from messaging.vault import Vault
from workers.adapters import Adapters
from workers.book import DatabaseBook, in_transaction
from workers.health import Health
from workers.in_hand import seats_wanted, window_size
from workers.metrics import counted, road
from workers.pace import Pace
from workers.pacing import Pacer
from workers.pipeline import Ending, Pipeline, Plan
from workers.providers.base import Adapter, Outgoing, Recipient
from workers.retry import RetryPolicy
from workers.seats import NO_SEAT_S, Seats
from workers.watched import watch

_log = structlog.get_logger(__name__)
_K = TypeVar("_K")
_V = TypeVar("_V")

_MESSAGES_KEPT = 8
"""Rendered messages a process remembers: batches of one message come in a row."""
_READY_S = 60.0
"""For so long after an account took something without being held up, rows for it are claimed as they are leased."""
_STOPPED_S = 30.0
_NOT_YET_S = 5.0
"""Another worker finds out whether the account works again."""
_LONG_WAIT_S = 10.0
_NOT_ALONE_S = 1.0
"""Of two batches that may end this process, one waits for the other."""


@dataclass(frozen=True)
class _Opened:
    lease: Lease
    account: ProviderAccount
    message: OutgoingMessage
    window: Window | None
    """Rows that were claimed with the lease."""


class Deliverer:
    """Delivers batches, one call each; calls may overlap."""

    def __init__(  # noqa: PLR0917  what delivering takes
        self,
        engine: Engine,
        vault: Vault,
        settings: Settings,
        pacer: Pacer,
        adapters: Adapters,
        publish: Callable[[Sequence[Hint]], bool],
        *,
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine = engine
        self._vault = vault
        self._settings = settings
        self._pacer = pacer
        self._adapters = adapters
        self._publish = publish
        self._is_stopping = is_stopping
        self._health: dict[int, Health] = {}
        self._messages: OrderedDict[int, OutgoingMessage] = OrderedDict()
        self._prepared: OrderedDict[tuple[int, datetime, Adapter], object] = OrderedDict()
        self._accounts: dict[int, tuple[str, ProviderAccount]] = {}
        """By number, with the version of the row that each was read from."""
        self._ready: dict[int, float] = {}
        """Until when rows for an account are claimed as they are leased, by the monotonic clock."""
        self._heard: dict[str, float] = {}
        """When each batch under way was last heard of, by the monotonic clock."""
        self._alone = asyncio.Lock()
        """Held by the one batch of this process whose workers died before."""

    async def deliver(self, ref: BatchRef) -> str:
        """Send what is due of the batch; a sentence about how that went. Safe to call any number of times."""
        if self._is_stopping():
            # whoever comes next finds it at once
            await in_transaction(self._engine, lambda connection: batches.unhint(connection, [ref]))
            return "left to others: this worker stops"
        opened = await in_transaction(self._engine, lambda connection: self._open(connection, ref))
        if opened is None:
            return "nothing to do"
        try:
            if not self._is_suspect(opened.lease):
                return await self._deliver(opened)
            if self._alone.locked():
                return await self._give_back(opened.lease, _NOT_ALONE_S, "another batch that may end its worker")
            async with self._alone:
                return await self._deliver(opened)
        except LeaseLostError:
            road().leases_lost.labels(opened.message.content.channel).inc()
            return "lease lost"

    def _is_suspect(self, owned: Lease) -> bool:
        """Whether so many workers died of it, or with it, that its deliveries go one at a time."""
        return owned.deaths >= self._settings.max_deaths

    def _open(self, connection: Connection, ref: BatchRef) -> _Opened | None:
        now = time.monotonic()
        ready = [provider_id for provider_id, until_s in list(self._ready.items()) if now < until_s]
        found = ledger_at_once.lease_and_claim(connection, ref, lease_s=self._settings.lease_s, ready=ready)
        if found is None:
            return None
        owned, window = found
        message = self._messages.get(owned.message_id)
        if message is None or message.expires_at != owned.expires_at:
            message = outgoing.load(connection, owned.message_id)
            _remember(self._messages, owned.message_id, message)
        if owned.claim > 1 and not self._take_over(connection, owned, message):
            return None
        return _Opened(owned, self._account(connection, owned), message, window)

    def _account(self, connection: Connection, owned: Lease) -> ProviderAccount:
        """The account, read again when its row has changed, and while it is stopped: its pause ends with time."""
        version, account = self._accounts.get(owned.provider_id, ("", None))
        if account is None or version != owned.account or account.stopped_reason is not None:
            account = providers.load_account(connection, self._vault, owned.provider_id)
            self._accounts[owned.provider_id] = (owned.account, account)
        return account

    def _take_over(self, connection: Connection, owned: Lease, message: OutgoingMessage) -> bool:
        """Settle what the worker before left behind; False when nothing may be sent of it any more.

        After `max_deaths` deaths in a row its deliveries go one at a time (`_plan`): who is in flight at two further
        deaths is put aside. Where as many workers more die with nobody in flight, the message itself is the poison.
        """
        most = self._settings.max_deaths
        aside = owned.deaths > most and quarantine.put_aside_in_flight(connection, owned, after=most)
        doubtful = ledger.settle_in_doubt(
            connection,
            owned,
            hold=message.on_unknown is OnUnknown.HOLD,
            max_attempts=self._settings.max_attempts,
        )
        channel = message.content.channel
        if doubtful or 0 < owned.deaths < most:  # a suspect keeps its record whoever had it last
            road().taken_over.labels(channel).inc()
        if doubtful:
            road().in_doubt.labels(channel).inc(doubtful)
            _log.warning("Took over a batch whose worker was lost.", batch_id=str(owned.ref), in_doubt=doubtful)
        if aside:
            road().quarantined.labels(quarantine.What.DELIVERY).inc()
            _log.error("A delivery that ends its worker was put aside.", batch_id=str(owned.ref), deaths=owned.deaths)
        if doubtful or aside:
            return True
        if not owned.deaths or not (owned.deaths >= 2 * most or quarantine.is_poisonous(connection, owned.message_id)):
            return True
        put_aside = quarantine.put_aside_batch(connection, owned)
        road().quarantined.labels(quarantine.What.BATCH).inc()
        batches.release(connection, owned, deaths=2 * most - 1)  # a replay costs one worker, not as many again
        _log.error(
            "A message that ends its workers was put aside.",
            batch_id=str(owned.ref),
            message_id=message.public_id,
            deaths=owned.deaths,
            deliveries=put_aside,
        )
        return False

    def silence_s(self) -> float:
        """For how long nothing was heard of the batch heard of least; 0 where none is under way."""
        return max((time.monotonic() - heard_s for heard_s in list(self._heard.values())), default=0.0)

    async def _deliver(self, opened: _Opened) -> str:
        key = f"{opened.lease.ref}:{opened.lease.claim}"

        def hear() -> None:
            self._heard[key] = time.monotonic()

        hear()
        book = DatabaseBook(
            self._engine,
            opened.lease,
            self._settings.lease_s,
            to_topics=opened.message.is_to_topics,
            finds_by_id=kind_of(opened.account.kind).finds_by_id,
            is_stopping=self._is_stopping,
            hear=hear,
            window=opened.window,
            counts=counted(opened.message.content.channel, opened.account.kind),
        )
        if opened.lease.claim == 1:
            waited_s = time.monotonic() - opened.message.begun_s
            road().queue_seconds.labels(opened.message.content.channel, opened.lease.lane).observe(max(0.0, waited_s))
        try:
            return await self._deliver_heard(opened, book)
        except Exception:
            with suppress(*AWAY, LeaseLostError):  # what went wrong is what is to be told
                await in_transaction(self._engine, lambda connection: book.put_back(connection, 0.0, None))
            raise
        finally:
            book.leave()
            del self._heard[key]

    async def _deliver_heard(self, opened: _Opened, book: DatabaseBook) -> str:
        owned, account, channel = opened.lease, opened.account, opened.message.content.channel
        book.on_trial = on_trial = await self._may_try(account)
        if not account.enabled or (account.stopped_reason is not None and not on_trial):
            reason = account.stopped_reason or "disabled"
            wait_s = _NOT_YET_S if account.on_trial else _STOPPED_S
            return await self._give_back(
                owned, wait_s, f"provider '{account.public_id}' ({reason})", book, fail_over=not account.on_trial
            )
        try:
            adapter = self._adapters.get(account)
        except Exception as error:  # noqa: BLE001  credentials of any kind may fail in any way
            reason = f"Its credentials can't be used: {error}"
            await book.stop_provider(reason, Action.STOP_PROVIDER)
            return await self._give_back(
                owned, _STOPPED_S, f"provider '{account.public_id}' ({reason})", book, fail_over=True
            )
        try:
            prepared = await self._prepare(adapter, opened.message)
        except ContentError as error:
            return await self._fail_all(owned, error, book)
        seats = await self._take_seats(opened)
        if seats is not None and not seats.count:
            why = "its turn: the provider has as many requests as it may have"
            return await self._give_back(owned, NO_SEAT_S, why, book)
        plan = self._plan(opened, seats, on_trial=on_trial)
        health = self._health.setdefault(account.id, Health())
        try:
            at, parent = str(owned.ref), opened.message.traceparent
            with tracing.span("batch", parent, batch_id=at, kind=account.kind) as span:
                watched = watch(adapter, road().request_seconds.labels(account.kind).observe, span)
                ending = await Pipeline(plan, book, watched, prepared, self._pacer, health, seats).run()
                if span is not None:
                    span.say(sent=ending.sent)
        finally:
            if seats is not None:
                await seats.leave()
        if on_trial:
            await self._judge_trial(account, ending)
        self._note_ready(plan, ending, limited=seats is not None)
        if ending.lost:
            road().leases_lost.labels(channel).inc()
            return f"lease lost after {ending.sent}"
        return f"{ending.sent} sent, " + await self._give_back(
            owned, ending.wait_s, ending.waiting_for, book, fail_over=_should_move(ending, owned.lane)
        )

    def _note_ready(self, plan: Plan, ending: Ending, *, limited: bool) -> None:
        """Whether the next small batch of the account may be claimed as it is leased: nothing would hold it up."""
        held_up = limited or plan.pace.is_limited or plan.trial or ending.paused or ending.waiting_for
        if ending.answered and not held_up and plan.window >= ledger_at_once.FEW:
            self._ready[plan.provider_id] = time.monotonic() + _READY_S
        else:
            self._ready.pop(plan.provider_id, None)

    async def _take_seats(self, opened: _Opened) -> Seats | None:
        """Some of the requests the account may have in flight over all workers; None where that is not limited."""
        most = opened.account.limits.concurrency
        if most is None:
            return None
        owned, kind = opened.lease, kind_of(opened.account.kind)
        holder, for_s = f"{owned.ref}:{owned.claim}", self._settings.lease_s
        seats = Seats(pacer=self._pacer, provider_id=owned.provider_id, most=most, holder=holder, for_s=for_s)
        await seats.take(seats_wanted(kind, owned.open), high=owned.lane is Lane.HIGH)
        return seats

    async def _may_try(self, account: ProviderAccount) -> bool:
        """Whether this run is the one that finds out if an account works again whose pause is over."""
        if not account.on_trial or not account.enabled:
            return False
        return await in_transaction(self._engine, lambda connection: provider_stops.probe(connection, account.id))

    async def _judge_trial(self, account: ProviderAccount, ending: Ending) -> None:
        def work(connection: Connection) -> bool:
            if ending.answered and not ending.paused:
                return provider_stops.start(connection, account.id)
            if ending.failed and not ending.paused:
                reason = account.stopped_reason or "It is out of order."
                provider_stops.stop_for(connection, account.id, reason, action=None, again=True)
            return False

        if await in_transaction(self._engine, work):
            _log.info("Provider works again.", provider=account.public_id)

    async def _prepare(self, adapter: Adapter, message: OutgoingMessage) -> object:
        if message.unsendable:
            raise ContentError(message.unsendable, "attachment_gone")
        key = (message.id, message.expires_at, adapter)
        prepared = self._prepared.get(key)
        if prepared is None:
            shared = Outgoing(
                message_id=message.public_id,
                content=message.content,
                expires_at=message.expires_at,
                visible_to=message.visible_to,
                visible_cc=message.visible_cc,
            )
            if message.content.channel is Channel.EMAIL:
                # attachments of megabytes take a second to encode: not on the loop that others send on
                prepared = await asyncio.to_thread(adapter.prepare, shared)
            else:
                prepared = adapter.prepare(shared)
            _remember(self._prepared, key, prepared)
        return prepared

    def _plan(self, opened: _Opened, seats: Seats | None, *, on_trial: bool) -> Plan:
        owned, account, settings = opened.lease, opened.account, self._settings
        kind = kind_of(account.kind)
        month, message_id = owned.ref.month, owned.message_id
        prefix, uuid_prefix = delivery_tag_prefix(month, message_id), delivery_uuid_prefix(month, message_id)
        unsubscribe = unsubscribe_links.Links.of(self._settings, self._vault) if opened.message.is_newsletter else None

        def recipient(delivery: Claimed) -> Recipient:
            tag = f"{prefix}{delivery.target_id:x}"
            return Recipient(
                target_id=delivery.target_id,
                address=delivery.address,
                tag=tag,
                uuid=f"{uuid_prefix}{delivery.target_id:012x}",
                role=delivery.role,
                name=delivery.name or None,
                attempt=delivery.attempt,
                unsubscribe_url=None if unsubscribe is None else unsubscribe.url(tag),
            )

        alone = self._is_suspect(owned)
        count = None if seats is None else seats.count
        return Plan(
            provider_id=owned.provider_id,
            first_target=owned.first_target,
            open=owned.open,
            request_size=1 if alone else kind.request_size,
            window=1 if alone else window_size(kind, seats=count, most=settings.window_max),
            alone=alone,
            pace=Pace.of(kind, account.limits, created_at=account.created_at, now=clock.now()),
            high=owned.lane is Lane.HIGH,
            lease_s=settings.lease_s,
            flush_s=settings.flush_ms / 1000,
            policy=RetryPolicy(
                max_attempts=settings.max_attempts,
                backoff_min_s=settings.backoff_min_s,
                backoff_max_s=settings.backoff_max_s,
                on_unknown=opened.message.on_unknown,
            ),
            recipient=recipient,
            trial=on_trial,
        )

    async def _fail_all(self, owned: Lease, error: ContentError, book: DatabaseBook) -> str:
        def work(connection: Connection) -> Count[DeliveryStatus]:
            batches.hold(connection, owned, lease_s=self._settings.lease_s)
            book.put_back(connection, 0.0, None)
            ended = ledger.settle_waiting(
                connection, owned.ref, DeliveryStatus.FAILED, code=error.code, error=str(error)
            )
            batches.release(connection, owned)
            return ended

        failed = await in_transaction(self._engine, work)
        for status, by in failed.items():
            if book.counts is not None:
                book.counts.settled(status, "content", by)
        return f"{failed.total()} failed: {error}"

    async def _give_back(
        self,
        owned: Lease,
        wait_s: float,
        waiting_for: str | None,
        book: DatabaseBook | None = None,
        *,
        fail_over: bool = False,
    ) -> str:
        """Let the batch go, and hand what certainly was not sent to another account where `fail_over` asks for it."""
        if book is not None and book.is_done:
            return "done"

        def work(connection: Connection) -> tuple[Released, Moved | None]:
            if book is not None:
                book.put_back(connection, wait_s, waiting_for)
            deaths = self._settings.max_deaths if self._is_suspect(owned) else 0  # suspect to its end
            released = batches.release(connection, owned, wait_s=wait_s, waiting_for=waiting_for, deaths=deaths)
            if released.done or not fail_over:
                return released, None
            return released, failover.move_one(connection, owned.ref)

        released, moved = await in_transaction(self._engine, work)
        if moved is not None and moved.deliveries:
            road().moved.inc(moved.deliveries)
            _log.warning("Deliveries go to another provider.", batch_id=str(owned.ref), deliveries=moved.deliveries)
            await asyncio.to_thread(self._publish, moved.hints)
            return f"{moved.deliveries} handed to another provider"
        return "done" if released.done else f"due again in {released.due_in_s:.1f} s"


def _should_move(ending: Ending, lane: Lane) -> bool:
    """Whether what is left should go to another account at once.

    When the account pauses, or can't reach somebody: always. In the high lane, where somebody waits for a code, also
    when nothing came through this time, or the provider asks for a long pause.
    """
    if ending.paused or ending.unreachable:
        return True
    return lane is Lane.HIGH and ((ending.failed > 0 and not ending.answered) or ending.wait_s > _LONG_WAIT_S)


def _remember(kept: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    kept[key] = value
    while len(kept) > _MESSAGES_KEPT:
        kept.popitem(last=False)
