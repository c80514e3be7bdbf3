"""Batches: what a worker leases. The rows of a batch are written by `store/ledger*.py` alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, Row, text

from messaging.channel import Channel, Lane
from messaging.errors import InvalidArgumentError
from messaging.status import MessageState
from messaging.wire import Queue, TaskName, deliver_queue


class BatchState(IntEnum):
    """Where a batch stands."""

    WAITING = 0
    LEASED = 1
    DONE = 2


@dataclass(frozen=True, slots=True)
class BatchRef:
    """The id of a batch, with the month that leads to its partition."""

    month: date
    id: int

    def __str__(self) -> str:
        return f"{self.month:%Y%m}-{self.id}"

    @classmethod
    def parse(cls, value: str) -> BatchRef:
        """The reference written as `202611-17`; raises `InvalidArgumentError`."""
        month, _, id_ = value.partition("-")
        try:
            return cls(date(int(month[:4]), int(month[4:]), 1), int(id_))
        except ValueError:
            raise InvalidArgumentError("batch", f"'{value}' is not a batch such as 202611-17") from None


@dataclass(frozen=True, kw_only=True)
class Hint:
    """A batch or a fan-out somebody should look at, or another task of ours: what a Celery message carries."""

    queue: Queue
    shadow: str
    """The task's name as Flower shows it."""
    batch: BatchRef | None = None
    message_id: int | None = None
    task: TaskName | None = None
    """The task, where it is neither."""
    argument: str | None = None
    """Its one argument, if it takes one."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A batch that this worker owns until its lease runs out."""

    ref: BatchRef
    claim: int
    message_id: int
    provider_id: int
    first_target: int
    last_target: int
    open: int
    """Rows not settled yet."""
    deaths: int
    """Workers that died in a row while they had it."""
    suspect_target: int | None
    """Who was alone in flight when the last of them died."""
    lane: Lane
    expires_at: datetime
    """When its message does, which a retry by hand moves."""
    account: str = ""
    """Which version of the provider's row is the newest."""


LEASE = text("SELECT * FROM lease_batch(:month, :id, :lease_s, CAST(:ready AS bigint[]), :few)")


def lease(connection: Connection, ref: BatchRef, *, lease_s: float) -> Lease | None:
    """Own the batch for `lease_s` seconds, or None: not due, owned by a living worker, done, paused or cancelled.

    `ledger_at_once.lease_and_claim` does the same, and may claim as well.
    """
    return leased(ref, connection.execute(LEASE, key_to_lease(ref, lease_s=lease_s)).one())


def key_to_lease(ref: BatchRef, *, lease_s: float, ready: Sequence[int] = (), few: int = 0) -> dict[str, Any]:
    """The parameters of `LEASE`: rows are claimed too where up to `few` are open at one of the providers `ready`."""
    return {"month": ref.month, "id": ref.id, "lease_s": lease_s, "ready": list(ready), "few": few}


def leased(ref: BatchRef, row: Row[Any]) -> Lease | None:
    """What `LEASE` answered."""
    if row.o_claim is None:
        return None
    return Lease(
        ref=ref,
        claim=row.o_claim,
        message_id=row.o_message,
        provider_id=row.o_provider,
        first_target=row.o_first,
        last_target=row.o_last,
        open=row.o_open,
        deaths=row.o_deaths,
        suspect_target=row.o_suspect,
        lane=Lane(row.o_lane),
        expires_at=row.o_expires_at,
        account=row.o_account or "",
    )


def suspect(connection: Connection, owned: Lease, target_id: int, *, deaths: int) -> None:
    """Put down who was alone in flight when a worker died, and that the batch counts `deaths` of them in a row."""
    connection.execute(
        text("""UPDATE batches SET deaths = :deaths, suspect_target = :target
                 WHERE month = :month AND id = :id AND claim = :claim"""),
        key_of(owned) | {"deaths": deaths, "target": target_id},
    )


# Lookups by key whatever the statistics say: a fresh partition has none, and a plan that reads a whole
# message per window costs a hundred times as much. For this transaction only, so a pooler is not confused.
_NESTED_LOOKUPS = ", ".join(
    f"set_config('enable_{node}', 'off', true)" for node in ("hashjoin", "mergejoin", "seqscan", "bitmapscan")
)

_HOLD = text(f"SELECT h.*, {_NESTED_LOOKUPS} FROM hold_batch(:month, :id, :claim, :lease_s) h")


def look_up(connection: Connection) -> None:
    """Plan what follows in this transaction as lookups by key."""
    connection.execute(text(f"SELECT {_NESTED_LOOKUPS}"))


class LeaseLostError(Exception):
    """The lease ran out and another worker may own the batch: nothing may be written any more."""


@dataclass(frozen=True, slots=True)
class Held:
    """What the message says while the batch row is locked for us."""

    state: MessageState
    expired: bool
    is_down: bool
    """The provider was stopped meanwhile."""


def hold(connection: Connection, owned: Lease, *, lease_s: float) -> Held:
    """Lock the batch row for this transaction and move the end of its lease to `lease_s` from now.

    Raises `LeaseLostError` where we own it no longer. Whoever writes rows of a batch locks the batch first: a
    take-over waits, or we find out here. What follows in the transaction is planned as lookups by key.
    """
    row = connection.execute(_HOLD, key_of(owned) | {"lease_s": lease_s}).one()
    if row.o_state is None:
        raise LeaseLostError
    return Held(MessageState.of(row.o_state), row.o_expired, bool(row.o_is_down))


def count(connection: Connection, ref: BatchRef, changes: dict[str, int]) -> None:
    """Add `changes` to the batch's counters. Column names come from this package only."""
    moved = {name: by for name, by in changes.items() if by}
    if moved:
        sets = ", ".join(f"{name} = {name} + :{name}" for name in moved)
        connection.execute(
            text(f"UPDATE batches SET {sets}, updated_at = now() WHERE month = :month AND id = :id"),
            {"month": ref.month, "id": ref.id, **moved},
        )


_COUNTED = ("accepted", "delivered", "failed", "unknown", "expired", "cancelled", "suppressed")


def count_all(connection: Connection, changes: Mapping[BatchRef, Mapping[str, int]]) -> None:
    """Add to the counters of several batches, locked by the caller, in one statement."""
    if changes:
        arrays = ", ".join(f"CAST(:{name} AS int[])" for name in _COUNTED)
        sets = ", ".join(f"{name} = b.{name} + n.{name}" for name in _COUNTED)
        connection.execute(
            text(f"""UPDATE batches b SET {sets}, updated_at = now()
                       FROM unnest(CAST(:months AS date[]), CAST(:ids AS bigint[]), {arrays})
                            AS n(month, id, {", ".join(_COUNTED)})
                      WHERE b.month = n.month AND b.id = n.id"""),
            {"months": [ref.month for ref in changes], "ids": [ref.id for ref in changes]}
            | {name: [by.get(name, 0) for by in changes.values()] for name in _COUNTED},
        )


_RELEASE = text(f"""
UPDATE batches b SET
       state = CASE WHEN rows.sending > 0 THEN b.state WHEN rows.open = 0 THEN {BatchState.DONE:d}
                    ELSE {BatchState.WAITING:d} END,
       due_at = greatest(least(coalesce(rows.due, now()), m.expires_at), now() + make_interval(secs => :wait_s)),
       lease_until = CASE WHEN rows.sending > 0 THEN b.lease_until END,
       deaths = :deaths, hinted_at = NULL, hints = 0, waiting_for = :waiting_for, updated_at = now()
  FROM messages m,
       (SELECT count(*) FILTER (WHERE status IN (0, 2)) AS open, count(*) FILTER (WHERE status = 1) AS sending,
               min(CASE WHEN status = 2 THEN due_at WHEN status = 0 THEN now() END) AS due
          FROM deliveries WHERE month = :month AND message_id = :message
           AND target_id BETWEEN :first AND :last AND batch_id = :id) rows
 WHERE b.month = :month AND b.id = :id AND b.claim = :claim AND m.id = b.message_id
RETURNING b.state, extract(epoch FROM b.due_at - now()) AS due_in_s
""")


def reopen(connection: Connection, refs: list[BatchRef]) -> None:
    """Make ended batches due again, and their messages unfinished, after some of their rows were queued again."""
    for ref in refs:
        connection.execute(
            text(f"""WITH b AS (UPDATE batches SET due_at = now(), hinted_at = NULL, hints = 0,
                        state = CASE WHEN state = {BatchState.DONE:d} THEN {BatchState.WAITING:d} ELSE state END
                      WHERE month = :month AND id = :id RETURNING message_id)
                UPDATE messages m SET finished_at = NULL, state = {MessageState.PROCESSING.code}, updated_at = now()
                  FROM b WHERE m.id = b.message_id AND m.finished_at IS NOT NULL
                   AND m.state <> {MessageState.CANCELLED.code}"""),
            {"month": ref.month, "id": ref.id},
        )


@dataclass(frozen=True, slots=True)
class Released:
    """How the batch was left."""

    done: bool
    due_in_s: float


def release(
    connection: Connection,
    owned: Lease,
    *,
    wait_s: float = 0.0,
    waiting_for: str | None = None,
    deaths: int = 0,
) -> Released:
    """Give the batch back: done when all its rows are settled, else due when the earliest of them is.

    `deaths` stay on its record. Rows still in flight keep the batch leased; it runs out and the sweep takes it over.
    """
    row = connection.execute(
        _RELEASE,
        key_of(owned)
        | {
            "message": owned.message_id,
            "first": owned.first_target,
            "last": owned.last_target,
            "wait_s": wait_s,
            "waiting_for": waiting_for,
            "deaths": deaths,
        },
    ).one_or_none()
    if row is None:
        raise LeaseLostError
    return Released(row.state == BatchState.DONE, float(row.due_in_s))


_DUE = text(f"""
WITH due AS (
    SELECT b.month, b.id FROM batches b
      JOIN messages m ON m.id = b.message_id AND m.state = {MessageState.PROCESSING.code}
      JOIN providers p ON p.id = b.provider_id AND p.enabled AND (p.stopped_at IS NULL OR p.stopped_until <= now())
     WHERE b.channel = :channel AND b.lane = :lane
       AND (b.state = {BatchState.WAITING:d} AND b.due_at <= now()
         OR b.state = {BatchState.LEASED:d} AND b.lease_until < now())
       AND (b.hinted_at IS NULL
         OR b.hinted_at < now() - make_interval(secs => :pause_s * power(2, least(greatest(b.hints, 1), 6) - 1)))
     ORDER BY b.due_at LIMIT :quota FOR UPDATE OF b SKIP LOCKED
)
UPDATE batches b SET hinted_at = now(), hints = least(b.hints + 1, 100)
  FROM due, providers p WHERE b.month = due.month AND b.id = due.id AND p.id = b.provider_id
RETURNING b.month, b.id, p.kind
""")


def due(connection: Connection, channel: Channel, lane: Lane, *, quota: int, pause_s: float) -> list[Hint]:
    """Up to `quota` batches that nobody works on though they are due, marked as hinted.

    A hint is repeated only after a growing pause, and never for what is paused or whose provider is stopped.
    """
    rows = connection.execute(_DUE, {"channel": channel, "lane": lane, "quota": quota, "pause_s": pause_s})
    return [deliver_hint(BatchRef(row.month, row.id), channel, lane, row.kind) for row in rows]


_LANES_DUE = text(f"""
SELECT queue.channel, queue.lane
  FROM unnest(CAST(:lanes AS text[]), CAST(:channels AS text[])) WITH ORDINALITY AS queue(lane, channel, place)
 WHERE EXISTS (SELECT 1 FROM batches WHERE state = {BatchState.WAITING:d} AND due_at <= now()
                  AND channel = queue.channel AND lane = queue.lane)
    OR EXISTS (SELECT 1 FROM batches WHERE state = {BatchState.LEASED:d} AND lease_until < now()
                  AND channel = queue.channel AND lane = queue.lane)
 ORDER BY queue.place
""")


def lanes_due(connection: Connection) -> Sequence[tuple[Channel, Lane]]:
    """Of which channels and lanes anything is due, the high lane first: the cheap question before the full one."""
    every = [(lane, channel) for lane in (Lane.HIGH, Lane.BULK) for channel in Channel]
    found = connection.execute(
        _LANES_DUE, {"lanes": [lane for lane, _ in every], "channels": [channel for _, channel in every]}
    )
    return [(Channel(row.channel), Lane(row.lane)) for row in found]


def close(connection: Connection, ref: BatchRef) -> None:
    """End a batch that has nothing open; a worker that still holds it finds its claim outdated."""
    connection.execute(
        text(f"""UPDATE batches SET state = {BatchState.DONE:d}, claim = claim + 1, lease_until = NULL,
                        hinted_at = NULL, waiting_for = NULL, updated_at = now() WHERE month = :month AND id = :id"""),
        {"month": ref.month, "id": ref.id},
    )


def deliver_hint(ref: BatchRef, channel: Channel, lane: Lane, kind: str) -> Hint:
    """The hint for a batch: its queue, and the name Flower shows."""
    return Hint(queue=deliver_queue(channel, lane), shadow=f"{channel} · {kind}", batch=ref)


RECEIPTS_HINT = Hint(queue=Queue.RECEIPTS, shadow="receipts", task=TaskName.RECEIPTS)
"""That receipts wait."""


def unhint(connection: Connection, refs: list[BatchRef]) -> None:
    """Take back hints that could not be published, so that the sweep repeats them at once."""
    for ref in refs:
        connection.execute(
            text(f"""UPDATE batches SET hinted_at = NULL
                      WHERE month = :month AND id = :id AND state = {BatchState.WAITING:d}"""),
            {"month": ref.month, "id": ref.id},
        )


def key_of(owned: Lease) -> dict[str, Any]:
    """What names a batch and our claim on it, as parameters of a statement."""
    return {"month": owned.ref.month, "id": owned.ref.id, "claim": owned.claim}
