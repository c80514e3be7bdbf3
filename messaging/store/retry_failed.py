"""Send the failed part of a message again: the failed only, by reason where one is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection, text

from messaging.channel import Channel, Lane
from messaging.errors import StateConflictError
from messaging.status import MessageState
from messaging.store import batches, ledger
from messaging.store.batches import BatchRef, Hint, deliver_hint
from messaging.store.messages import MessageView

_M = MessageState
_MOST_HINTS = 100


def retry_failed(
    connection: Connection, message: MessageView, *, codes: Sequence[str], expires_in_s: float
) -> tuple[int, list[Hint]]:
    """How many failed deliveries of a message wait to be sent again, and hints for their batches.

    Only those with one of the error `codes`, where any is given. A message that had expired gets `expires_in_s`
    more seconds. One that failed as a whole, before it had deliveries, begins anew (0, and no hints: the sweep starts
    it). Raises `StateConflictError` for a message that has not begun or was cancelled.
    """
    if message.state in {_M.DRAFT, _M.SCHEDULED, _M.CANCELLED}:
        raise StateConflictError(
            message.state, f"Message '{message.id}' is {message.state}; there is nothing that failed in sending."
        )
    connection.execute(
        text("""UPDATE messages SET expires_at = greatest(expires_at, now() + make_interval(secs => :more))
                 WHERE id = :id"""),
        {"id": message.number, "more": expires_in_s},
    )
    if message.month is None:
        if message.state is _M.FAILED and not codes:
            _begin_anew(connection, message.number)
        return 0, []
    refs = ledger.retry_failed(connection, message.month, message.number, codes=codes)
    batches.reopen(connection, list(refs))
    return refs.total(), _hints(connection, refs, message.channel, message.lane)


def _begin_anew(connection: Connection, number: int) -> None:
    connection.execute(
        text(f"""UPDATE messages SET state = {_M.PROCESSING.code}, failure = NULL, finished_at = NULL,
                        updated_at = now(), hinted_at = NULL, hints = 0
                  WHERE id = :id AND month IS NULL AND state = {_M.FAILED.code}"""),
        {"id": number},
    )


def _hints(connection: Connection, refs: Counter[BatchRef], channel: Channel, lane: Lane) -> list[Hint]:
    first = list(refs)[:_MOST_HINTS]  # the sweep hints the rest
    if not first:
        return []
    kinds = connection.execute(
        text("""UPDATE batches b SET hinted_at = now(), hints = 1 FROM providers p
                 WHERE b.month = :month AND b.id = ANY(CAST(:ids AS bigint[])) AND p.id = b.provider_id
             RETURNING b.id, p.kind"""),
        {"month": first[0].month, "ids": [ref.id for ref in first]},
    )
    return [deliver_hint(BatchRef(first[0].month, row.id), channel, lane, row.kind) for row in kinds]
