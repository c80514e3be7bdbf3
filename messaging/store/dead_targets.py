"""Addresses a provider calls dead, or whose owner refuses: skipped at once, expired a little later.

The delay lets the guard take verdicts back: a provider that calls most of its targets dead is more likely
misconfigured than right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from messaging.outcome import Action
from messaging.store import batches, ledger, provider_stops
from messaging.store.batches import Lease
from messaging.store.ledger_told import Name

GUARD_SENDS = 50
"""Below so many sends the guard says nothing."""


@dataclass(frozen=True, slots=True)
class Dead:
    """One verdict."""

    target_id: int
    since: datetime | None
    """A target registered after this is not dead."""


def guard_trips(sent: int, dead: int) -> bool:
    """Whether so many dead among so many sends say that the provider is wrong, not the addresses."""
    return sent >= GUARD_SENDS and dead * 2 > sent


def mark(connection: Connection, owned: Lease, dead: Sequence[Dead]) -> None:
    """Skip these targets from now on; the sweep expires them once the verdict has stood for a while."""
    connection.execute(
        text("""
        WITH verdict AS (
            SELECT * FROM unnest(CAST(:targets AS bigint[]), CAST(:since AS timestamptz[])) AS v(id, since)),
        marked AS (
            UPDATE targets t SET dead_at = now(), dead_provider_id = :provider, updated_at = now()
              FROM verdict v WHERE t.id = v.id AND t.dead_at IS NULL AND t.registered_at <= coalesce(v.since, now())
            RETURNING t.id)
        INSERT INTO dead_verdicts (target_id, provider_id, month, message_id, batch_id)
        SELECT id, :provider, :month, :message, :batch FROM marked
        """),
        {
            "targets": [each.target_id for each in dead],
            "since": [each.since for each in dead],
            "provider": owned.provider_id,
            "month": owned.ref.month,
            "message": owned.message_id,
            "batch": owned.ref.id,
        },
    )


def mark_told(connection: Connection, provider_id: int, dead: Sequence[Name]) -> None:
    """The same for what receipts say: an address that was written to and is dead."""
    connection.execute(
        text("""
        WITH told AS (SELECT * FROM unnest(CAST(:months AS date[]), CAST(:messages AS bigint[]),
                                           CAST(:targets AS bigint[])) AS v(month, message, id)),
        marked AS (
            UPDATE targets t SET dead_at = now(), dead_provider_id = :provider, updated_at = now()
              FROM told v, deliveries d
             WHERE t.id = v.id AND t.dead_at IS NULL AND d.month = v.month AND d.message_id = v.message
               AND d.target_id = v.id AND t.registered_at <= coalesce(d.accepted_at, now())
            RETURNING t.id, v.month, v.message)
        INSERT INTO dead_verdicts (target_id, provider_id, month, message_id)
        SELECT id, :provider, month, message FROM marked
        """),
        {
            "provider": provider_id,
            "months": [name.month for name in dead],
            "messages": [name.message_id for name in dead],
            "targets": [name.target_id for name in dead],
        },
    )


def forget_told(connection: Connection, provider_id: int) -> int:
    """Take back what the provider's receipts called dead lately. Returns how many; nothing is sent again."""
    gone = connection.execute(
        text("""
        WITH gone AS (DELETE FROM dead_verdicts WHERE provider_id = :provider AND batch_id IS NULL RETURNING target_id)
        UPDATE targets t SET dead_at = NULL, dead_provider_id = NULL, updated_at = now()
          FROM gone WHERE t.id = gone.target_id AND t.expired_at IS NULL
        """),
        {"provider": provider_id},
    )
    return gone.rowcount


def withdraw(connection: Connection, provider_id: int, *, reason: str) -> int:
    """Stop the provider and take its recent verdicts back. Returns how many deliveries wait again."""
    provider_stops.stop_for(connection, provider_id, reason, action=Action.STOP_PROVIDER)
    refs = ledger.take_back_dead(connection, provider_id)
    batches.reopen(connection, refs)
    connection.execute(
        text("""UPDATE targets t SET dead_at = NULL, dead_provider_id = NULL, updated_at = now()
                  FROM dead_verdicts v
                 WHERE v.provider_id = :provider AND t.id = v.target_id AND t.expired_at IS NULL"""),
        {"provider": provider_id},
    )
    gone = connection.execute(
        text("DELETE FROM dead_verdicts WHERE provider_id = :provider"), {"provider": provider_id}
    )
    return gone.rowcount


def expire(connection: Connection, *, grace_s: float, limit: int) -> int:
    """Expire targets whose verdict has stood for `grace_s` seconds. Returns how many.

    A mailbox or number that is gone is suppressed as well: it stays so when somebody registers it again. A device
    token is no more than a token.
    """
    done = connection.execute(
        text("""
        WITH old AS (
            DELETE FROM dead_verdicts WHERE id IN (
                SELECT id FROM dead_verdicts WHERE created_at < now() - make_interval(secs => :grace)
                 ORDER BY created_at LIMIT :limit FOR UPDATE SKIP LOCKED)
            RETURNING target_id),
        expired AS (
            UPDATE targets t SET expired_at = now(), updated_at = now()
              FROM old WHERE t.id = old.target_id AND t.dead_at IS NOT NULL AND t.expired_at IS NULL
            RETURNING t.project_id, t.channel, t.address_hash),
        listed AS (
            INSERT INTO suppressions (project_id, channel, address_hash, scope, reason)
            SELECT DISTINCT project_id, channel, address_hash, 'everything', 'bounced_hard' FROM expired
             WHERE channel <> 'push'
            ON CONFLICT (project_id, channel, address_hash) DO UPDATE
               SET scope = excluded.scope, reason = excluded.reason, created_at = now()
             WHERE suppressions.scope <> 'everything')
        SELECT count(*) FROM expired
        """),
        {"grace": grace_s, "limit": limit},
    ).scalar_one()
    return int(done)
