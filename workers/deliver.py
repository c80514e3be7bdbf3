"""Deliver a batch: lease it, send what is due, give it back."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TypeVar

import structlog
from sqlalchemy import Connection, Engine

from messaging.catalog import kind_of
from messaging.channel import Lane, OnUnknown
from messaging.errors import ContentError
from messaging.ids import delivery_tag_prefix, delivery_uuid
from messaging.settings import Settings
from messaging.status import DeliveryStatus
from messaging.store import batches, ledger, outgoing, providers
from messaging.store.batches import BatchRef, Lease, LeaseLostError
from messaging.store.ledger import Claimed
from messaging.store.outgoing import OutgoingMessage
from messaging.store.providers import ProviderAccount
from messaging.vault import Vault
from workers.adapters import Adapters
from workers.book import DatabaseBook, in_transaction
from workers.pacing import Pacer
from workers.pipeline import Pipeline, Plan
from workers.providers.base import Adapter, Outgoing, Recipient
from workers.retry import RetryPolicy

_log = structlog.get_logger(__name__)
_K = TypeVar("_K")
_V = TypeVar("_V")

_MESSAGES_KEPT = 8
"""Rendered messages a process remembers: batches of one message come in a row."""
_STOPPED_S = 30.0


@dataclass(frozen=True)
class _Opened:
    lease: Lease
    account: ProviderAccount
    message: OutgoingMessage


class Deliverer:
    """Delivers batches, one call each; calls may overlap."""

    def __init__(self, engine: Engine, vault: Vault, settings: Settings, pacer: Pacer, adapters: Adapters) -> None:
        self._engine = engine
        self._vault = vault
        self._settings = settings
        self._pacer = pacer
        self._adapters = adapters
        self._messages: OrderedDict[int, OutgoingMessage] = OrderedDict()
        self._prepared: OrderedDict[tuple[int, Adapter], object] = OrderedDict()

    async def deliver(self, ref: BatchRef) -> str:
        """Send what is due of the batch; a sentence about how that went. Safe to call any number of times."""
        opened = await in_transaction(self._engine, lambda connection: self._open(connection, ref))
        if opened is None:
            return "nothing to do"
        try:
            return await self._deliver(opened)
        except LeaseLostError:
            return "lease lost"

    def _open(self, connection: Connection, ref: BatchRef) -> _Opened | None:
        owned = batches.lease(connection, ref, lease_s=self._settings.lease_s)
        if owned is None:
            return None
        message = self._messages.get(owned.message_id)
        if message is None:
            message = outgoing.load(connection, owned.message_id)
            _remember(self._messages, owned.message_id, message)
        if owned.claim > 1:
            doubtful = ledger.settle_in_doubt(
                connection,
                owned,
                hold=message.on_unknown is OnUnknown.HOLD,
                max_attempts=self._settings.max_attempts,
            )
            if doubtful:
                _log.warning("Took over a batch whose worker was lost.", batch_id=str(ref), in_doubt=doubtful)
        return _Opened(owned, providers.load_account(connection, self._vault, owned.provider_id), message)

    async def _deliver(self, opened: _Opened) -> str:
        owned, account = opened.lease, opened.account
        if not account.enabled or account.stopped_reason is not None:
            reason = account.stopped_reason or "disabled"
            return await self._give_back(owned, _STOPPED_S, f"provider '{account.public_id}' ({reason})")
        try:
            adapter = self._adapters.get(account)
        except Exception as error:  # noqa: BLE001  credentials of any kind may fail in any way
            reason = f"Its credentials can't be used: {error}"
            await DatabaseBook(self._engine, owned, self._settings.lease_s).stop_provider(reason)
            return await self._give_back(owned, _STOPPED_S, f"provider '{account.public_id}' ({reason})")
        try:
            prepared = await self._prepare(adapter, opened.message)
        except ContentError as error:
            return await self._fail_all(owned, error)
        plan = self._plan(opened)
        book = DatabaseBook(self._engine, owned, self._settings.lease_s)
        ending = await Pipeline(plan, book, adapter, prepared, self._pacer).run()
        if ending.lost:
            return f"lease lost after {ending.sent}"
        return f"{ending.sent} sent, " + await self._give_back(owned, ending.wait_s, ending.waiting_for)

    async def _prepare(self, adapter: Adapter, message: OutgoingMessage) -> object:
        if message.unsendable:
            raise ContentError(message.unsendable, "attachment_gone")
        key = (message.id, adapter)
        prepared = self._prepared.get(key)
        if prepared is None:
            shared = Outgoing(
                message_id=message.public_id,
                content=message.content,
                expires_at=message.expires_at,
                visible_to=message.visible_to,
                visible_cc=message.visible_cc,
            )
            # attachments of megabytes take a second to encode: not on the loop that others send on
            prepared = await asyncio.to_thread(adapter.prepare, shared)
            _remember(self._prepared, key, prepared)
        return prepared

    def _plan(self, opened: _Opened) -> Plan:
        owned, settings = opened.lease, self._settings
        kind = kind_of(opened.account.kind)
        month, message_id = owned.ref.month, owned.message_id
        prefix = delivery_tag_prefix(month, message_id)

        def recipient(delivery: Claimed) -> Recipient:
            return Recipient(
                target_id=delivery.target_id,
                address=delivery.address,
                tag=f"{prefix}{delivery.target_id:x}",
                uuid=delivery_uuid(month, message_id, delivery.target_id),
                role=delivery.role,
                name=delivery.name or None,
                attempt=delivery.attempt,
            )

        in_flight = kind.concurrency * kind.request_size
        return Plan(
            provider_id=owned.provider_id,
            first_target=owned.first_target,
            open=owned.open,
            request_size=kind.request_size,
            window=max(kind.request_size, min(settings.window_max, in_flight) // 2, 1),
            rate_per_s=kind.rate_per_s,
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
        )

    async def _fail_all(self, owned: Lease, error: ContentError) -> str:
        def work(connection: Connection) -> int:
            batches.hold(connection, owned, lease_s=self._settings.lease_s)
            ended = ledger.settle_waiting(
                connection, owned.ref, DeliveryStatus.FAILED, code=error.code, error=str(error)
            )
            batches.release(connection, owned)
            return ended.total()

        failed = await in_transaction(self._engine, work)
        return f"{failed} failed: {error}"

    async def _give_back(self, owned: Lease, wait_s: float, waiting_for: str | None) -> str:
        released = await in_transaction(
            self._engine,
            lambda connection: batches.release(connection, owned, wait_s=wait_s, waiting_for=waiting_for),
        )
        return "done" if released.done else f"due again in {released.due_in_s:.1f} s"


def _remember(kept: OrderedDict[_K, _V], key: _K, value: _V) -> None:
    kept[key] = value
    while len(kept) > _MESSAGES_KEPT:
        kept.popitem(last=False)
