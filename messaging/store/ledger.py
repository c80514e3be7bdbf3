"""The ledger: every statement that writes a delivery's status, and no other module has one.

(`store/expand.py` inserts rows; from then on they change here.) Rows change in batch order under the
batch's lock (`batches.hold`), so a worker whose lease ran out can't write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import Role
from messaging.status import OPEN, DeliveryStatus
from messaging.store import batches
from messaging.store.batches import BatchRef, Lease

_S = DeliveryStatus
_ROLES = (Role.TO, Role.CC, Role.BCC)
_OPEN = f"({', '.join(str(status.code) for status in sorted(OPEN, key=lambda s: s.code))})"
_WAITING = f"({_S.QUEUED.code}, {_S.RETRYING.code})"

_RANGE = "d.month = :month AND d.message_id = :message AND d.target_id BETWEEN :first AND :last AND d.batch_id = :id"


def _range(owned: Lease) -> dict[str, Any]:
    return {
        "month": owned.ref.month,
        "message": owned.message_id,
        "first": owned.first_target,
        "last": owned.last_target,
        "id": owned.ref.id,
    }


def _counters(moved: Counter[DeliveryStatus]) -> dict[str, int]:
    """Batch counters by which settled states grew."""
    return {status.value: by for status, by in moved.items() if status.is_settled}


# -- taking over -----------------------------------------------------------------------------------

_IN_DOUBT = text(f"""
UPDATE deliveries d SET
       status = CASE WHEN :hold OR d.attempts >= :max_attempts THEN {_S.UNKNOWN.code} ELSE {_S.RETRYING.code} END,
       due_at = now(), doubts = d.doubts + 1, updated_at = now(),
       error_code = 'worker_lost', error = 'The worker stopped while this was in flight; it may have been sent.'
 WHERE {_RANGE} AND d.status = {_S.SENDING.code} AND d.claim < :claim
RETURNING d.status
""")


def settle_in_doubt(connection: Connection, owned: Lease, *, hold: bool, max_attempts: int) -> int:
    """Decide what a dead worker left in flight: sent again, or held as unknown. Returns how many there were."""
    rows = connection.execute(
        _IN_DOUBT, _range(owned) | {"claim": owned.claim, "hold": hold, "max_attempts": max_attempts}
    ).scalars()
    moved = Counter(_S.of(code) for code in rows)
    batches.count(connection, owned.ref, _counters(moved) | {"doubtful": moved[_S.RETRYING]})
    return moved.total()


# -- claiming --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Claimed:
    """One delivery to send now."""

    target_id: int
    address: str
    name: str
    attempt: int
    """1 on the first try."""
    doubts: int
    role: Role

    @classmethod
    def nobody(cls) -> Claimed:
        """Stands for the provider account where an answer is about that rather than about a recipient."""
        return cls(0, "", "", 1, 0, Role.TO)


_CLAIM = text(f"""
WITH candidate AS (
    SELECT d.target_id FROM deliveries d
     WHERE d.month = :month AND d.message_id = :message AND d.target_id > :after AND d.target_id <= :last
       AND d.batch_id = :id
       AND (d.status = {_S.QUEUED.code} OR d.status = {_S.RETRYING.code} AND d.due_at <= now())
     ORDER BY d.target_id LIMIT :window
)
UPDATE deliveries d SET
       status = c.status, claim = :claim, updated_at = now(), due_at = NULL,
       attempts = d.attempts + CASE WHEN c.status = {_S.SENDING.code} THEN 1 ELSE 0 END,
       error_code = c.code,
       error = CASE c.code WHEN 'target_deleted' THEN 'The target was deleted.'
                           WHEN 'target_expired' THEN 'The address was reported dead.'
                           WHEN 'suppressed' THEN 'The address is on the suppression list.' END
  FROM (
    SELECT k.target_id, t.identifier, t.name, v.code,
           CASE WHEN v.code IS NULL THEN {_S.SENDING.code}
                WHEN v.code = 'suppressed' THEN {_S.SUPPRESSED.code} ELSE {_S.FAILED.code} END AS status
      FROM candidate k
      LEFT JOIN targets t ON t.id = k.target_id
      LEFT JOIN suppressions x ON x.project_id = t.project_id AND x.channel = t.channel
           AND x.address_hash = t.address_hash AND (x.scope = 'everything' OR :bulk)
      CROSS JOIN LATERAL (SELECT CASE WHEN t.id IS NULL THEN 'target_deleted'
                                      WHEN t.expired_at IS NOT NULL OR t.dead_at IS NOT NULL THEN 'target_expired'
                                      WHEN x.project_id IS NOT NULL THEN 'suppressed' END AS code) v
  ) c
 WHERE d.month = :month AND d.message_id = :message AND d.target_id = c.target_id
RETURNING d.target_id, d.status, c.identifier, c.name, d.attempts, d.doubts, d.role
""")


@dataclass(frozen=True, slots=True)
class Window:
    """What a claim brought."""

    claimed: Sequence[Claimed]
    cursor: int
    """Highest target id looked at; the next window starts after it."""
    exhausted: bool
    """True when no row after the cursor is due."""


def claim(connection: Connection, owned: Lease, *, after: int, window: int, bulk: bool) -> Window:
    """Claim up to `window` due rows after target `after`, in target order, with the batch held.

    Targets that are gone, dead or suppressed meanwhile are settled on the way and not returned.
    """
    rows = connection.execute(
        _CLAIM, _range(owned) | {"claim": owned.claim, "after": after, "window": window, "bulk": bulk}
    ).all()
    settled = Counter(_S.of(row.status) for row in rows if row.status != _S.SENDING.code)
    batches.count(connection, owned.ref, _counters(settled))
    claimed = [
        Claimed(row.target_id, row.identifier, row.name, row.attempts, row.doubts, _ROLES[row.role])
        for row in rows
        if row.status == _S.SENDING.code
    ]
    claimed.sort(key=lambda delivery: delivery.target_id)
    return Window(claimed, max((row.target_id for row in rows), default=after), exhausted=len(rows) < window)


# -- recording -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one claimed delivery."""

    target_id: int
    status: DeliveryStatus
    wait_s: float = 0.0
    """Until the next attempt, for `retrying`."""
    refund: int = 0
    """1 when this attempt does not count."""
    doubt: int = 0
    """1 when it may have been sent although nothing readable came back."""
    error_code: str | None = None
    error: str | None = None
    provider_message_id: str | None = None


_PERMITTED_FROM_SENDING = frozenset({_S.ACCEPTED, _S.FAILED, _S.UNKNOWN, _S.RETRYING, _S.EXPIRED, _S.SUPPRESSED})

_RECORD = text(f"""
UPDATE deliveries d SET
       status = o.status, updated_at = now(),
       due_at = CASE WHEN o.status = {_S.RETRYING.code} THEN now() + make_interval(secs => o.wait_s) END,
       accepted_at = CASE WHEN o.status = {_S.ACCEPTED.code} THEN now() END,
       attempts = d.attempts - o.refund, doubts = d.doubts + o.doubt,
       error_code = o.error_code, error = o.error, provider_message_id = o.provider_message_id
  FROM unnest(CAST(:targets AS bigint[]), CAST(:statuses AS smallint[]), CAST(:waits AS float8[]),
              CAST(:refunds AS smallint[]), CAST(:doubts AS smallint[]), CAST(:codes AS text[]),
              CAST(:errors AS text[]), CAST(:provider_ids AS text[]))
       AS o(target_id, status, wait_s, refund, doubt, error_code, error, provider_message_id)
 WHERE d.month = :month AND d.message_id = :message AND d.target_id = o.target_id
   AND d.batch_id = :id AND d.claim = :claim AND d.status = {_S.SENDING.code}
RETURNING d.status
""")


def record(connection: Connection, owned: Lease, verdicts: Sequence[Verdict]) -> int:
    """Write the outcomes of claimed rows in one statement, with the batch held. Returns how many matched."""
    refused = {v.status for v in verdicts} - _PERMITTED_FROM_SENDING
    if refused:
        raise ValueError(f"No delivery moves from sending to {', '.join(sorted(refused))}.")
    rows = connection.execute(
        _RECORD,
        _range(owned)
        | {
            "claim": owned.claim,
            "targets": [v.target_id for v in verdicts],
            "statuses": [v.status.code for v in verdicts],
            "waits": [v.wait_s for v in verdicts],
            "refunds": [v.refund for v in verdicts],
            "doubts": [v.doubt for v in verdicts],
            "codes": [v.error_code for v in verdicts],
            "errors": [v.error for v in verdicts],
            "provider_ids": [v.provider_message_id for v in verdicts],
        },
    ).scalars()
    moved = Counter(_S.of(code) for code in rows)
    doubtful = sum(v.doubt for v in verdicts if v.status is _S.RETRYING)
    batches.count(connection, owned.ref, _counters(moved) | {"doubtful": doubtful})
    return moved.total()


_EVIDENCE = text("""
INSERT INTO evidence (month, message_id, target_id, claim, status, error_code, provider_message_id)
SELECT :month, :message, o.* FROM unnest(CAST(:targets AS bigint[]), CAST(:claims AS int[]),
    CAST(:statuses AS smallint[]), CAST(:codes AS text[]), CAST(:provider_ids AS text[])) AS o
""")

_SETTLE_UNKNOWN = text(f"""
UPDATE deliveries d SET status = o.status, updated_at = now(), error_code = o.code,
       error = CASE WHEN o.status = {_S.ACCEPTED.code} THEN NULL ELSE d.error END,
       accepted_at = CASE WHEN o.status = {_S.ACCEPTED.code} THEN now() END, provider_message_id = o.provider_id
  FROM unnest(CAST(:targets AS bigint[]), CAST(:statuses AS smallint[]), CAST(:codes AS text[]),
              CAST(:provider_ids AS text[])) AS o(target_id, status, code, provider_id)
 WHERE d.month = :month AND d.message_id = :message AND d.target_id = o.target_id
   AND d.status = {_S.UNKNOWN.code} AND d.batch_id = :id
RETURNING d.status
""")


def keep_late(connection: Connection, owned: Lease, verdicts: Sequence[Verdict]) -> int:
    """Keep the answers of a worker whose lease ran out; they settle what is `unknown` and nothing else."""
    certain = [v for v in verdicts if v.status in {_S.ACCEPTED, _S.FAILED, _S.SUPPRESSED}]
    if not certain:
        return 0
    parameters = _range(owned) | {
        "targets": [v.target_id for v in certain],
        "claims": [owned.claim] * len(certain),
        "statuses": [v.status.code for v in certain],
        "codes": [v.error_code for v in certain],
        "provider_ids": [v.provider_message_id for v in certain],
    }
    connection.execute(_EVIDENCE, parameters)
    _lock(connection, owned.ref)
    settled = Counter(_S.of(code) for code in connection.execute(_SETTLE_UNKNOWN, parameters).scalars())
    batches.count(connection, owned.ref, _counters(settled) | {"unknown": -settled.total()})
    return settled.total()


def _lock(connection: Connection, ref: BatchRef) -> None:
    connection.execute(
        text("SELECT 1 FROM batches WHERE month = :month AND id = :id FOR UPDATE"), {"month": ref.month, "id": ref.id}
    )


# -- ending what is still open ---------------------------------------------------------------------

_SETTLE_LOST = text(f"""
UPDATE deliveries d SET status = {_S.UNKNOWN.code}, updated_at = now(), doubts = d.doubts + 1,
       error_code = 'worker_lost', error = 'The worker stopped while this was in flight; it may have been sent.'
  FROM batches b
 WHERE b.month = :month AND b.id = :id AND d.month = b.month AND d.message_id = b.message_id
   AND d.target_id BETWEEN b.first_target AND b.last_target AND d.batch_id = b.id AND d.status = {_S.SENDING.code}
RETURNING d.status
""")


def settle_lost(connection: Connection, ref: BatchRef) -> int:
    """Rows in flight of a batch whose lease ran out end as unknown: nobody will send them again."""
    _lock(connection, ref)
    lost = Counter(
        _S.of(code) for code in connection.execute(_SETTLE_LOST, {"month": ref.month, "id": ref.id}).scalars()
    )
    batches.count(connection, ref, _counters(lost))
    return lost.total()


_SETTLE_WAITING = text(f"""
UPDATE deliveries d SET
       status = CASE WHEN d.doubts > 0 AND :status <> {_S.FAILED.code} THEN {_S.UNKNOWN.code} ELSE :status END,
       updated_at = now(), due_at = NULL, error_code = :code, error = :error
  FROM batches b
 WHERE b.month = :month AND b.id = :id AND d.month = b.month AND d.message_id = b.message_id
   AND d.target_id BETWEEN b.first_target AND b.last_target AND d.batch_id = b.id AND d.status IN {_WAITING}
RETURNING d.status
""")


def settle_waiting(
    connection: Connection, ref: BatchRef, status: DeliveryStatus, *, code: str, error: str
) -> Counter[DeliveryStatus]:
    """End every row of the batch that waits (queued or retrying) with `status`, with the batch row locked.

    A row that may have been sent in an earlier attempt ends as `unknown`, not as expired or cancelled.
    """
    _lock(connection, ref)
    rows = connection.execute(
        _SETTLE_WAITING,
        {"month": ref.month, "id": ref.id, "status": status.code, "code": code, "error": error},
    ).scalars()
    moved = Counter(_S.of(code_) for code_ in rows)
    batches.count(connection, ref, _counters(moved))
    return moved


_TAKE_BACK = text(f"""
UPDATE deliveries d SET status = {_S.RETRYING.code}, due_at = now(), updated_at = now(),
       attempts = greatest(d.attempts - 1, 0),
       error_code = 'verdict_withdrawn', error = 'The provider called most addresses dead; its verdict is not believed.'
  FROM dead_verdicts v
 WHERE v.provider_id = :provider AND d.month = v.month AND d.message_id = v.message_id
   AND d.target_id = v.target_id AND d.batch_id = v.batch_id AND d.status = {_S.FAILED.code}
RETURNING d.month, d.batch_id
""")


def take_back_dead(connection: Connection, provider_id: int) -> list[BatchRef]:
    """Queue again what a provider failed as dead while its verdicts were not to be believed."""
    refs = Counter(
        BatchRef(row.month, row.batch_id) for row in connection.execute(_TAKE_BACK, {"provider": provider_id})
    )
    for ref, by in refs.items():
        batches.count(connection, ref, {"failed": -by})
    return list(refs)
