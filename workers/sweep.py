"""Find everything due, stuck or lost. Scheduler, outbox, retry queue and crash recovery in one.

Harmless when doubled: rows are taken with SKIP LOCKED. Run it anywhere, any number of times; with none
for an hour, nothing is lost.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import structlog
from sqlalchemy import Connection, Engine

from messaging.channel import Channel, Lane
from messaging.producer import fanout_hint
from messaging.publish import Publisher
from messaging.settings import Settings
from messaging.status import DeliveryStatus
from messaging.store import (
    batches,
    dead_targets,
    erasure,
    expansion,
    failover,
    file_uploads,
    finishing,
    ledger,
    partitions,
    provider_checks,
    quarantine,
    receipts,
    retention,
    starts,
)
from messaging.store.batches import RECEIPTS_HINT, BatchRef, Hint
from messaging.store.vault_keys import open_vault
from messaging.wire import deliver_queue
from workers.metrics import counted, road

_log = structlog.get_logger(__name__)

_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep did."""

    started: int
    stalled: int
    moved: int
    """Deliveries that went to another provider."""
    hinted: int
    closed: int
    finished: int
    expired_targets: int
    erased: int
    """People whose traces were looked for."""


def sweep(engine: Engine, settings: Settings, publisher: Publisher) -> Swept:
    """One sweep; each subject in a transaction of its own, hints published after their commit."""
    with engine.begin() as connection:
        started = expansion.start_due(connection, limit=_LIMIT)
        stalled = expansion.stalled(connection, limit=_LIMIT, pause_s=settings.hint_pause_s)
    publisher.publish([fanout_hint(each.id, each.channel, each.lane) for each in (*started, *stalled)])
    moved = _fail_over(engine, publisher)
    with engine.begin() as connection:
        if receipts.any_waiting(connection):
            publisher.publish([RECEIPTS_HINT])
    with engine.begin() as connection:
        checks = provider_checks.forgotten(connection)
    publisher.publish(checks)
    with engine.begin() as connection:
        due = batches.lanes_due(connection)
    hinted = sum(_hint(engine, settings, publisher, channel, lane) for channel, lane in due)
    with engine.begin() as connection:
        closed = _close_ended(connection)
    with engine.begin() as connection:
        finished = finishing.finish(connection, limit=_LIMIT)
    with engine.begin() as connection:
        expired = dead_targets.expire(connection, grace_s=settings.dead_grace_s, limit=10_000)
    erased = _erase(engine, settings)  # last: it may read whole partitions, and everything due is on its way by then
    swept = Swept(len(started), len(stalled), moved, hinted, closed, finished, expired, erased)
    road().sweeps.inc()
    if any(asdict(swept).values()):
        for what, count in asdict(swept).items():
            road().swept.labels(what).inc(count)
        _log.info("Swept.", **asdict(swept))
    return swept


def _erase(engine: Engine, settings: Settings) -> int:
    """Erase what is left of people who were deleted."""
    with engine.begin() as connection:
        if not erasure.any_due(connection):
            return 0
    return erasure.work_off(engine, open_vault(engine, settings.secret_key.get_secret_value()))


def _fail_over(engine: Engine, publisher: Publisher) -> int:
    """Hand what waits for accounts that don't work to those that do."""
    with engine.begin() as connection:
        if not failover.any_down(connection):
            return 0
        moved = failover.move_waiting(connection, limit=_LIMIT)
    publisher.publish(moved.hints)
    road().moved.inc(moved.deliveries)
    return moved.deliveries


def _hint(engine: Engine, settings: Settings, publisher: Publisher, channel: Channel, lane: Lane) -> int:
    """Hint what is due of a channel and lane, as far as its queue has room."""
    quota = publisher.room(deliver_queue(channel, lane))
    if not quota:
        return 0
    with engine.begin() as connection:
        hints: list[Hint] = batches.due(connection, channel, lane, quota=quota, pause_s=settings.hint_pause_s)
    if not publisher.publish(hints):
        with engine.begin() as connection:
            batches.unhint(connection, [hint.batch for hint in hints if hint.batch is not None])
        return 0
    return len(hints)


def _close_ended(connection: Connection) -> int:
    """Close batches whose message was cancelled or has expired: what waits is settled, what was lost is unknown."""
    ended = finishing.open_batches_of_ended(connection, limit=_LIMIT)
    for batch in ended:
        ref = BatchRef(batch.month, batch.id)
        counts = counted(batch.channel, batch.kind)
        counts.settled(DeliveryStatus.UNKNOWN, "worker_lost", ledger.settle_lost(connection, ref))
        if batch.cancelled:
            status, code, error = DeliveryStatus.CANCELLED, "cancelled", "The message was cancelled."
        else:
            status, code, error = DeliveryStatus.EXPIRED, "expired", "Not sent before the message expired."
        for ended_as, by in ledger.settle_waiting(connection, ref, status, code=code, error=error).items():
            counts.settled(ended_as, code, by)
        batches.close(connection, ref)
    return len(ended)


def keep_house(engine: Engine, settings: Settings) -> retention.Forgotten:
    """Create the partitions of the coming months and drop those past retention; a few times a day."""
    with engine.begin() as connection:
        partitions.ensure_partitions(connection)
        forgotten = retention.forget(connection, retention_days=settings.retention_days)
        uploads = file_uploads.forget_unfinished(connection)
        quarantine.forget_old(connection, retention_days=settings.retention_days)
        starts.forget_old(connection, days=settings.retention_days)
    if forgotten.months or forgotten.keys:
        _log.info("Forgot what was old.", months=[str(month) for month in forgotten.months], keys=forgotten.keys)
    if forgotten.users or forgotten.files:
        _log.info("Removed what nobody uses any more.", anonymous_users=forgotten.users, files=forgotten.files)
    if uploads:
        _log.info("Gave up uploads that did not go on.", uploads=uploads)
    return forgotten
