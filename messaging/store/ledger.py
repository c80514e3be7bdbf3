"""The ledger: every statement that writes a delivery's status, and no other module has one.

(`store/expand.py` inserts rows; from then on they change here, and in the functions of `migrations/windows.sql` and
`migrations/at_once.sql`, which only `store/ledger*.py` call.) Rows change in batch order under the
batch's lock (`batches.hold`), so a worker whose lease ran out can't write.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from messaging.channel import Role
from messaging.status import DeliveryStatus, MessageState
from messaging.store import batches, finishing
from messaging.store.batches import BatchRef, Lease, LeaseLostError
from messaging.store.past_attempts import keeping

UNSENT = "not_sent_yet"
"""The code of a row that was claimed, and certainly not sent."""

_S = DeliveryStatus
_ROLES = (Role.TO, Role.CC, Role.BCC)
_WAITING = f"({_S.QUEUED.code}, {_S.RETRYING.code})"

_RANGE = "d.month = :month AND d.message_id = :message AND d.target_id BETWEEN :first AND :last AND d.batch_id = :id"


# What an attempt came to is kept where another one follows; a row that was put back unsent made none.
_TRIED = keeping(f"""
    SELECT m.month, m.message_id, m.target_id, CAST(:provider AS bigint), m.attempts + :refund, m.error_code, m.error
      FROM moved m WHERE m.status = {_S.RETRYING.code} AND m.error_code IS DISTINCT FROM '{UNSENT}'
""")


def range_of(owned: Lease) -> dict[str, Any]:
    """What leads to the rows of a leased batch, as parameters of a statement."""
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
WITH moved AS (
UPDATE deliveries d SET
       status = CASE WHEN :hold OR d.attempts >= :max_attempts THEN {_S.UNKNOWN.code} ELSE {_S.RETRYING.code} END,
       due_at = now(), doubts = d.doubts + 1, updated_at = now(),
       error_code = 'worker_lost', error = 'The worker stopped while this was in flight; it may have been sent.'
 WHERE {_RANGE} AND d.status = {_S.SENDING.code} AND d.claim < :claim
RETURNING d.*
), kept AS ({_TRIED})
SELECT status FROM moved
""")


def settle_in_doubt(connection: Connection, owned: Lease, *, hold: bool, max_attempts: int) -> int:
    """Decide what a dead worker left in flight: sent again, or held as unknown. Returns how many there were."""
    rows = connection.execute(
        _IN_DOUBT,
        range_of(owned)
        | {"claim": owned.claim, "hold": hold, "max_attempts": max_attempts}
        | {"provider": owned.provider_id, "refund": 0},
    ).scalars()
    moved = Counter(_S.of(code) for code in rows)
    batches.count(connection, owned.ref, _counters(moved) | {"doubtful": moved[_S.RETRYING]})
    return moved.total()


# -- claiming --------------------------------------------------------------------------------------


class Claimed(NamedTuple):
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


_CLAIM = text("""
SELECT * FROM claim_window(:month, :id, :claim, :lease_s, :message, :after, :last, :window, :bulk, :on_trial)
""")

_DECLINE = text(f"""
UPDATE deliveries d SET status = CASE WHEN d.doubts > 0 THEN {_S.UNKNOWN.code} ELSE :status END,
       updated_at = now(), due_at = NULL, error_code = :code, error = :error
 WHERE d.month = :month AND d.message_id = :message AND d.target_id = ANY(CAST(:targets AS bigint[]))
RETURNING d.status
""")

_DECLINED = {
    "target_deleted": (_S.FAILED, "The target was deleted."),
    "target_expired": (_S.FAILED, "The address was reported dead."),
    "suppressed": (_S.SUPPRESSED, "The address is on the suppression list."),
}


@dataclass(frozen=True, slots=True)
class Window:
    """What a claim brought."""

    claimed: Sequence[Claimed]
    cursor: int
    """Highest target id looked at; the next window starts after it."""
    exhausted: bool
    """True when no row after the cursor is due."""
    declined: Sequence[tuple[DeliveryStatus, str]] = ()
    """How those ended that were settled instead, and why."""


def claim(
    connection: Connection, owned: Lease, *, after: int, window: int, bulk: bool, lease_s: float, on_trial: bool = False
) -> Window | None:
    """Hold the batch, and claim up to `window` due rows after target `after`, in target order.

    None where nothing may be sent: the message is paused, cancelled or has expired, or the provider stopped
    (`on_trial`: that is no reason). Targets that are gone, dead or suppressed meanwhile are settled on the way and not
    returned: as `unknown` where an earlier attempt may have arrived. Raises `LeaseLostError`.
    """
    parameters = range_of(owned) | {
        "claim": owned.claim,
        "lease_s": lease_s,
        "after": after,
        "window": window,
        "bulk": bulk,
        "on_trial": on_trial,
    }
    row = connection.execute(_CLAIM, parameters).one()
    if row.o_state is None:
        raise LeaseLostError
    return window_of(connection, owned, row, after=after, window=window) if row.o_may else None


def window_of(connection: Connection, owned: Lease, row: Row[Any], *, after: int, window: int) -> Window:
    """What `claim_window` found; those it declined are settled."""
    columns = (row.o_targets, row.o_addresses, row.o_names, row.o_attempts, row.o_doubts, row.o_roles)
    claimed = [
        Claimed(target, address, name, attempt, doubts, _ROLES[role])
        for target, address, name, attempt, doubts, role in zip(*(values or () for values in columns), strict=True)
    ]
    declined = _decline(connection, owned, row.o_declined, row.o_declined_codes) if row.o_declined else ()
    cursor = row.o_cursor if row.o_found else after
    return Window(claimed, cursor, row.o_found < window or cursor >= owned.last_target, declined)


def _decline(
    connection: Connection, owned: Lease, targets: Sequence[int], codes: Sequence[str]
) -> list[tuple[DeliveryStatus, str]]:
    batches.look_up(connection)
    ended: list[tuple[DeliveryStatus, str]] = []
    for code, (status, error) in _DECLINED.items():
        declined = [target for target, its in zip(targets, codes, strict=True) if its == code]
        if declined:
            rows = connection.execute(
                _DECLINE,
                range_of(owned) | {"targets": declined, "status": status.code, "code": code, "error": error},
            ).scalars()
            settled = [_S.of(code_) for code_ in rows]
            batches.count(connection, owned.ref, _counters(Counter(settled)))
            ended += [(each, code) for each in settled]
    return ended


# -- recording -------------------------------------------------------------------------------------


class Verdict(NamedTuple):
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

# By array and not by join, one statement per kind of outcome: a join of outcomes and rows is planned by
# statistics, and without them reads the whole message per window. What differs per row is looked up in JSON.
_MOVE = f"""
UPDATE deliveries d SET
       status = :status, updated_at = now(),
       due_at = now() + make_interval(secs => (CAST(:waits AS jsonb) ->> d.target_id::text)::float8),
       accepted_at = CASE WHEN :status = {_S.ACCEPTED.code} THEN now() END,
       attempts = d.attempts - :refund, doubts = d.doubts + :doubt,
       error_code = :error_code, error = :error,
       provider_message_id = CAST(:provider_ids AS jsonb) ->> d.target_id::text
 WHERE d.month = :month AND d.message_id = :message AND d.target_id = ANY(CAST(:targets AS bigint[]))
   AND d.batch_id = :id AND d.status = :was
   AND (d.claim = :claim OR :was = {_S.UNKNOWN.code} AND :status = {_S.ACCEPTED.code})
"""
_RECORD = text(_MOVE)
_RECORD_TRIED = text(f"WITH moved AS ({_MOVE} RETURNING d.*), kept AS ({_TRIED}) SELECT count(*) FROM moved")


_RECORD_ACCEPTED = text("""
SELECT * FROM record_accepted(:month, :id, :claim, :lease_s, :message, :targets, CAST(:provider_ids AS text))
""")


def record(connection: Connection, owned: Lease, verdicts: Sequence[Verdict], *, lease_s: float) -> int:
    """Hold the batch, and write the outcomes of claimed rows. Returns how many matched; raises `LeaseLostError`."""
    refused = {v.status for v in verdicts} - _PERMITTED_FROM_SENDING
    if refused:
        raise ValueError(f"No delivery moves from sending to {', '.join(sorted(refused))}.")
    accepted = [v for v in verdicts if v.status is _S.ACCEPTED]  # nearly all of them, and all alike
    row = connection.execute(_RECORD_ACCEPTED, said_of_accepted(owned, accepted, lease_s=lease_s)).one()
    if row.o_state is None:
        raise LeaseLostError
    matched = int(row.o_matched)
    if len(accepted) < len(verdicts):
        batches.look_up(connection)
        others = [v for v in verdicts if v.status is not _S.ACCEPTED]
        moved = _write(connection, owned, others, was=_S.SENDING)
        doubtful = sum(v.doubt for v in others if v.status is _S.RETRYING)
        batches.count(connection, owned.ref, _counters(moved) | {"doubtful": doubtful})
        matched += moved.total()
    return matched


def said_of_accepted(owned: Lease, accepted: Sequence[Verdict], *, lease_s: float) -> dict[str, Any]:
    """What `record_accepted` and `finish_batch` want to know of rows that were accepted."""
    accepted = sorted(accepted)  # by target, as the function looks their ids up
    return batches.key_of(owned) | {
        "lease_s": lease_s,
        "message": owned.message_id,
        "targets": [v.target_id for v in accepted],
        "provider_ids": _joined([v.provider_message_id or "" for v in accepted]),
    }


_SEPARATOR = "\x1f"
"""ASCII's unit separator, as `record_accepted` has it."""


def _joined(provider_ids: Sequence[str]) -> str | None:
    """The ids as `record_accepted` splits them, none of them holding the separator; None where there are none."""
    if not any(provider_ids):
        return None
    joined = _SEPARATOR.join(provider_ids)
    if joined.count(_SEPARATOR) >= len(provider_ids):
        joined = _SEPARATOR.join(each.replace(_SEPARATOR, " ") for each in provider_ids)
    return joined


def _write(
    connection: Connection, owned: Lease, verdicts: Sequence[Verdict], *, was: DeliveryStatus
) -> Counter[DeliveryStatus]:
    """Move rows from `was` to what their verdicts say; how many went where."""
    kinds: dict[tuple[object, ...], list[Verdict]] = {}
    for verdict in verdicts:
        key = (verdict.status, verdict.refund, verdict.doubt, verdict.error_code, verdict.error)
        kinds.setdefault(key, []).append(verdict)
    moved: Counter[DeliveryStatus] = Counter()
    for alike in kinds.values():
        first = alike[0]
        waits = {v.target_id: v.wait_s for v in alike} if first.status is _S.RETRYING else {}
        tried = first.status is _S.RETRYING and first.error_code != UNSENT
        written = connection.execute(
            _RECORD_TRIED if tried else _RECORD,
            range_of(owned)
            | {
                "provider": owned.provider_id,
                "claim": owned.claim,
                "was": was.code,
                "targets": [v.target_id for v in alike],
                "status": first.status.code,
                "refund": first.refund,
                "doubt": first.doubt,
                "error_code": first.error_code,
                "error": first.error,
                "waits": json.dumps(waits),
                "provider_ids": json.dumps(
                    {v.target_id: v.provider_message_id for v in alike if v.provider_message_id is not None}
                ),
            },
        )
        moved[first.status] += written.scalar_one() if tried else written.rowcount
    return moved


_EVIDENCE = text("""
INSERT INTO evidence (month, message_id, target_id, claim, status, error_code, provider_message_id)
SELECT :month, :message, o.* FROM unnest(CAST(:targets AS bigint[]), CAST(:claims AS int[]),
    CAST(:statuses AS smallint[]), CAST(:codes AS text[]), CAST(:provider_ids AS text[])) AS o
""")


def keep_late(connection: Connection, owned: Lease, verdicts: Sequence[Verdict]) -> int:
    """Keep the answers of a worker whose lease ran out; they settle what is `unknown` and nothing else.

    One that was accepted arrived, whoever sent it since. One that was refused says nothing of a later attempt.
    """
    certain = [v for v in verdicts if v.status in {_S.ACCEPTED, _S.FAILED, _S.SUPPRESSED}]
    if not certain:
        return 0
    parameters = range_of(owned) | {
        "targets": [v.target_id for v in certain],
        "claims": [owned.claim] * len(certain),
        "statuses": [v.status.code for v in certain],
        "codes": [v.error_code for v in certain],
        "provider_ids": [v.provider_message_id for v in certain],
    }
    connection.execute(_EVIDENCE, parameters)
    _lock(connection, owned.ref)
    settled = _write(connection, owned, certain, was=_S.UNKNOWN)
    if settled.total():
        batches.count(connection, owned.ref, _counters(settled) | {"unknown": -settled.total()})
        finishing.fold_again(connection, [owned.message_id])
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
       status = CASE WHEN d.doubts > 0 THEN {_S.UNKNOWN.code} ELSE :status END,
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

    A row that may have been sent in an earlier attempt ends as `unknown`, not as expired, cancelled or failed.
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
  FROM dead_verdicts v JOIN messages m ON m.id = v.message_id AND m.state <> {MessageState.CANCELLED.code}
 WHERE v.provider_id = :provider AND d.month = v.month AND d.message_id = v.message_id
   AND d.target_id = v.target_id AND d.batch_id = v.batch_id AND d.status = {_S.FAILED.code}
RETURNING d.month, d.batch_id
""")
_KEEP_DEAD = text(
    keeping(f"""
    SELECT d.month, d.message_id, d.target_id, v.provider_id, d.attempts, d.error_code, d.error
      FROM dead_verdicts v JOIN messages m ON m.id = v.message_id AND m.state <> {MessageState.CANCELLED.code}
      JOIN LATERAL (SELECT d.* FROM deliveries d WHERE d.month = v.month AND d.message_id = v.message_id
                       AND d.target_id = v.target_id OFFSET 0) d ON d.batch_id = v.batch_id
     WHERE v.provider_id = :provider AND d.status = {_S.FAILED.code}
""")
)


def take_back_dead(connection: Connection, provider_id: int) -> list[BatchRef]:
    """Queue again what a provider failed as dead while its verdicts were not to be believed.

    What belongs to a cancelled message stays as it is: nobody would send it, and the message has its totals.
    """
    connection.execute(_KEEP_DEAD, {"provider": provider_id})
    refs = Counter(
        BatchRef(row.month, row.batch_id) for row in connection.execute(_TAKE_BACK, {"provider": provider_id})
    )
    for ref, by in refs.items():
        batches.count(connection, ref, {"failed": -by})
    return list(refs)
