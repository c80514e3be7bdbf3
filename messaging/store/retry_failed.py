"""Send the failed part of a message again: the failed only, by reason where one is named."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from messaging.channel import Channel, Lane
from messaging.errors import StateConflictError
from messaging.status import MessageState
from messaging.store import batches, ledger_retry, routes
from messaging.store.batches import BatchRef, Hint, deliver_hint
from messaging.store.messages import MessageView

_M = MessageState
_MOST_HINTS = 100


@dataclass(frozen=True, slots=True)
class Retried:
    """What a retry came to."""

    deliveries: int
    """That wait to be sent again."""
    unserved: int
    """That stay failed: the account they went over is gone or disabled, and no other enabled one may take over."""
    hints: Sequence[Hint]
    """To be published after commit."""


def retry_failed(connection: Connection, message: MessageView, *, codes: Sequence[str], expires_in_s: float) -> Retried:
    """Queue the failed deliveries of a message again, only those with one of the error `codes` where any is given.

    They go over the account they failed over, or where that is gone or disabled over the one that serves their targets
    now. A message that has expired gets `expires_in_s` more seconds if anything of it is sent again. One that failed as
    a whole, before it had deliveries, begins anew (no hints: the sweep starts it). Raises `StateConflictError` for a
    message that has not begun or was cancelled.
    """
    row = connection.execute(
        text("SELECT project_id, state, fixed_provider_id FROM messages WHERE id = :id FOR UPDATE"),
        {"id": message.number},
    ).one()
    state = MessageState.of(row.state)  # as it is now that nobody else can change it
    if state in {_M.DRAFT, _M.SCHEDULED, _M.CANCELLED} or (state is _M.PAUSED and message.month is None):
        raise StateConflictError(state, f"Message '{message.id}' is {state}; there is nothing that failed in sending.")
    if message.month is None:
        if state is _M.FAILED and not codes:
            _begin_anew(connection, message.number, expires_in_s)
        return Retried(0, 0, ())
    ledger_retry.lock(connection, message.month, message.number)
    refs = ledger_retry.again(connection, message.month, message.number, codes=codes)
    unserved = ledger_retry.left(connection, message.month, message.number, codes=codes)
    if unserved:
        routing = routes.routes(connection, row.project_id, message.channel, only=row.fixed_provider_id)
        moved = ledger_retry.elsewhere(connection, message.month, message.number, codes=codes, routing=routing)
        unserved -= moved.total()
        refs += moved
    if refs:
        _let_live(connection, message.number, expires_in_s)
        batches.reopen(connection, list(refs))
    return Retried(refs.total(), unserved, _hints(connection, refs, message.channel, message.lane))


def _let_live(connection: Connection, number: int, expires_in_s: float) -> None:
    connection.execute(
        # one whose time ran out while its audience was being read does not go on reading it: the failed only
        text("""UPDATE messages SET expires_at = now() + make_interval(secs => :more),
                       expanded = expanded OR month IS NOT NULL
                 WHERE id = :id AND expires_at <= now()"""),
        {"id": number, "more": expires_in_s},
    )


def _begin_anew(connection: Connection, number: int, expires_in_s: float) -> None:
    _let_live(connection, number, expires_in_s)
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
