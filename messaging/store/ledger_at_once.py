"""A batch of few rows in two calls and not in four: lease it and claim, record and end it.

`migrations/at_once.sql` has the functions. What they can't do simply is left to `ledger` and `batches`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, text

from messaging.status import DeliveryStatus
from messaging.store import batches, ledger
from messaging.store.batches import BatchRef, Lease, LeaseLostError
from messaging.store.ledger import Verdict, Window

FEW = 8
"""Rows a batch may have open to be claimed as it is leased: no more than any kind of provider may have in flight."""

_FINISH = text("""
SELECT * FROM finish_batch(:month, :id, :claim, :lease_s, :message, :targets, CAST(:provider_ids AS text))
""")


def lease_and_claim(
    connection: Connection, ref: BatchRef, *, lease_s: float, ready: Collection[int]
) -> tuple[Lease, Window | None] | None:
    """What `batches.lease` says, and the rows where they are claimed too: a new batch, few rows, a provider of `ready`.

    Whoever does not send them puts them back: `put_back`.
    """
    row = connection.execute(
        batches.LEASE, batches.key_to_lease(ref, lease_s=lease_s, ready=sorted(ready), few=FEW)
    ).one()
    owned = batches.leased(ref, row)
    if owned is None:
        return None
    if not row.o_may:
        return owned, None
    return owned, ledger.window_of(connection, owned, row, after=owned.first_target - 1, window=FEW + 1)


def finish(connection: Connection, owned: Lease, verdicts: Sequence[Verdict], *, lease_s: float) -> bool:
    """Record that claimed rows were accepted, and end the batch where no other is open; whether it is ended.

    All verdicts are `accepted`. Raises `LeaseLostError`.
    """
    row = connection.execute(_FINISH, ledger.said_of_accepted(owned, verdicts, lease_s=lease_s)).one()
    if row.o_state is None:
        raise LeaseLostError
    return bool(row.o_done)


def put_back(
    connection: Connection, owned: Lease, window: Window, *, wait_s: float, reason: str, lease_s: float
) -> None:
    """Rows that were claimed and certainly not sent wait again, at no cost. Raises `LeaseLostError`."""
    verdicts = [
        Verdict(
            claimed.target_id,
            DeliveryStatus.RETRYING,
            wait_s=wait_s,
            refund=1,
            error_code=ledger.UNSENT,
            error=reason,
        )
        for claimed in window.claimed
    ]
    ledger.record(connection, owned, verdicts, lease_s=lease_s)
