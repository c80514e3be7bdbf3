"""Quarantine: what ended one worker after the other, put aside until somebody has looked at it and replays it.

Four kinds: one delivery (sending it ended the worker), a batch (the worker ended before anything was sent: the message
itself is the poison), the fan-out of a message, and a task of a producer that intake did not survive.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, text

from messaging.channel import Channel, Lane
from messaging.errors import ConflictError, NotFoundError, StateConflictError
from messaging.status import MessageState
from messaging.store import batches, ledger_quarantine, lists, provider_stops, vault_keys
from messaging.store.batches import BatchRef, BatchState, Hint, Lease, deliver_hint
from messaging.store.lists import Attribute, Kind, ListOf, Wanted
from messaging.vault import Vault
from messaging.wire import Queue, TaskName

_M = MessageState

TASK_DAYS = 30
"""A task that was put aside is kept this long; it may hold addresses."""
_MOST_BATCHES = 100
"""Further batches of a poisonous message put aside in one go."""


class What(StrEnum):
    """What was put aside."""

    DELIVERY = "delivery"
    BATCH = "batch"
    FAN_OUT = "fan_out"
    TASK = "task"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something in quarantine."""

    id: str
    what: What
    reason: str
    """Why, in words."""
    deliveries: int
    """How many were put aside with it."""
    message_id: str | None
    target_id: str | None
    task_id: str | None
    task_name: str | None
    replayed_at: datetime | None
    """When somebody asked for a task to be tried again; it is gone once that worked."""
    at: datetime


@dataclass(frozen=True, kw_only=True)
class EntryPage:
    """A page of the quarantine, and how long it is."""

    entries: list[Entry]
    total: int


_LIST = ListOf(
    what="Entry",
    columns="q.id, q.kind, q.reason, q.deliveries, m.public_id AS message, t.public_id AS target, q.task_id,"
    " q.task_name, q.replayed_at, q.created_at",
    source="quarantine q LEFT JOIN messages m ON m.id = q.message_id LEFT JOIN targets t ON t.id = q.target_id",
    where="q.project_id = :project",
    number="q.id",
    public_id="q.id::text",
    attributes={
        "$id": Attribute("q.id::text"),
        "$createdAt": Attribute("q.created_at", Kind.TIME),
        "what": Attribute("q.kind"),
        "messageId": Attribute("m.public_id"),
        "taskId": Attribute("q.task_id"),
    },
)


def listed(connection: Connection, project_id: int, wanted: Wanted) -> EntryPage:
    """What is in quarantine, newest first unless `wanted` orders it. Raises `QueryError` or `CursorError`."""
    newest_first = wanted if wanted.order else replace(wanted, order=(("", True),))
    found = lists.page(connection, _LIST, newest_first, {"project": project_id})
    return EntryPage(entries=[_entry(row) for row in found.rows], total=found.total)


def _entry(row: Mapping[Any, Any]) -> Entry:
    return Entry(
        id=str(row["id"]),
        what=What(row["kind"]),
        reason=row["reason"],
        deliveries=row["deliveries"],
        message_id=row["message"],
        target_id=row["target"],
        task_id=row["task_id"],
        task_name=row["task_name"],
        replayed_at=row["replayed_at"],
        at=row["created_at"],
    )


# -- putting aside ---------------------------------------------------------------------------------


def put_aside_in_flight(connection: Connection, owned: Lease, *, after: int) -> bool:
    """Whether the delivery that was alone in flight when the last worker died was put aside, as `unknown`.

    For a batch just taken over whose deliveries are sent one at a time since `after` workers died of it. The first
    death alone makes a suspect, the second of the same one is proof: a machine that fails now and then hits others.
    """
    targets = ledger_quarantine.in_flight(connection, owned)
    if len(targets) != 1:
        return False
    (target,) = targets
    batches.suspect(connection, owned, target, deaths=after)
    if target != owned.suspect_target:
        return False
    reason = "Sending it ended one worker after the other; it may have been sent."
    ledger_quarantine.set_aside_in_flight(connection, owned, error=reason)
    _add_of_batch(connection, owned.ref, What.DELIVERY, reason, deliveries=1, target_id=target)
    provider_stops.log(connection, owned.provider_id, "quarantined", f"A delivery of batch {owned.ref}. {reason}")
    return True


def put_aside_batch(connection: Connection, owned: Lease) -> int:
    """Put aside a leased batch whose workers died before they sent anything, and what else waits of its message.

    How many deliveries. The batch itself is left for its holder to release.
    """
    reason = f"Its workers ended {owned.deaths} times before they could send anything; the message may be the cause."
    others = connection.execute(
        text(f"""SELECT month, id FROM batches WHERE month = :month AND message_id = :message AND id <> :id
                    AND provider_id = :provider AND state = {BatchState.WAITING:d}
                  ORDER BY id LIMIT {_MOST_BATCHES} FOR UPDATE SKIP LOCKED"""),
        {
            "month": owned.ref.month,
            "message": owned.message_id,
            "id": owned.ref.id,
            "provider": owned.provider_id,
        },
    ).all()
    total = _put_aside_waiting(connection, owned.ref, reason)
    for row in others:
        ref = BatchRef(row.month, row.id)
        total += _put_aside_waiting(connection, ref, reason)
        batches.close(connection, ref)
    provider_stops.log(connection, owned.provider_id, "quarantined", f"{total:,} deliveries. {reason}")
    return total


def _put_aside_waiting(connection: Connection, ref: BatchRef, reason: str) -> int:
    deliveries = ledger_quarantine.set_aside_waiting(connection, ref, error=reason)
    if deliveries:
        _add_of_batch(connection, ref, What.BATCH, reason, deliveries=deliveries)
    return deliveries


def is_poisonous(connection: Connection, message_id: int) -> bool:
    """Whether a batch of the message was put aside as a whole."""
    found = connection.execute(
        text(f"SELECT EXISTS (SELECT 1 FROM quarantine WHERE message_id = :message AND kind = '{What.BATCH}')"),
        {"message": message_id},
    ).scalar_one()
    return bool(found)


def _add_of_batch(
    connection: Connection, ref: BatchRef, what: What, reason: str, *, deliveries: int, target_id: int | None = None
) -> None:
    connection.execute(
        text("""INSERT INTO quarantine (project_id, kind, reason, month, message_id, batch_id, target_id, deliveries)
                SELECT m.project_id, :kind, :reason, b.month, b.message_id, b.id, :target, :deliveries
                  FROM batches b JOIN messages m ON m.id = b.message_id WHERE b.month = :month AND b.id = :id"""),
        {
            "kind": what,
            "reason": reason,
            "month": ref.month,
            "id": ref.id,
            "target": target_id,
            "deliveries": deliveries,
        },
    )


def put_aside_fan_out(connection: Connection, message_id: int, *, deaths: int) -> bool:
    """End a message's fan-out where it is, its failure told with the message; False if it has ended meanwhile.

    What was expanded before goes on; a message of which nothing was fails.
    """
    reason = f"Finding its recipients ended the worker {deaths} times. Look into the log, then replay it."
    stopped = connection.execute(
        text(f"""UPDATE messages SET failure = :reason, updated_at = now(), expanded = month IS NOT NULL,
                        state = CASE WHEN month IS NULL THEN {_M.FAILED.code} ELSE state END,
                        finished_at = CASE WHEN month IS NULL THEN now() END
                  WHERE id = :id AND state = {_M.PROCESSING.code} AND NOT expanded RETURNING project_id"""),
        {"id": message_id, "reason": reason},
    ).one_or_none()
    if stopped is None:
        return False
    connection.execute(
        text("""INSERT INTO quarantine (project_id, kind, reason, message_id)
                VALUES (:project, :kind, :reason, :message)"""),
        {"project": stopped.project_id, "kind": What.FAN_OUT, "reason": reason, "message": message_id},
    )
    return True


def put_aside_task(
    connection: Connection, vault: Vault, project_id: int, *, task_id: str, task_name: str, said: object, deaths: int
) -> None:
    """Keep a task of a producer that ended its workers, encrypted, for `TASK_DAYS` days."""
    connection.execute(
        text("""INSERT INTO quarantine (project_id, kind, reason, task_id, task_name, sealed)
                VALUES (:project, :kind, :reason, :task, :name, :sealed)"""),
        {
            "project": project_id,
            "kind": What.TASK,
            "reason": f"Taking it in ended the worker {deaths} times; it never became a message.",
            "task": task_id,
            "name": task_name,
            "sealed": vault_keys.seal(connection, vault, said),
        },
    )


# -- replaying -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Replayed:
    """What became of an entry that was replayed."""

    deliveries: int = 0
    """Queued again."""
    hints: Sequence[Hint] = ()
    """To be published after commit."""


def replay(connection: Connection, project_id: int, entry_id: str, *, expires_in_s: float) -> Replayed:
    """Try again what was put aside. What still ends its worker is put aside again, all but a fan-out after one death.

    A message that had expired gets `expires_in_s` more seconds. Raises `NotFoundError`, `StateConflictError` (the
    message was cancelled) and `ConflictError` (it may have been sent and its message says `hold`, or was erased).
    """
    row = connection.execute(
        text("""SELECT q.*, m.state, m.channel, m.lane, m.public_id AS message FROM quarantine q
                  LEFT JOIN messages m ON m.id = q.message_id
                 WHERE q.project_id = :project AND q.id::text = :id FOR UPDATE OF q"""),
        {"project": project_id, "id": entry_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError("entry of the quarantine", entry_id)
    if row.kind == What.TASK:
        if row.sealed is None:
            raise ConflictError(
                "It named somebody whose every trace was erased since; there is nothing left to replay."
            )
        connection.execute(text("UPDATE quarantine SET replayed_at = now() WHERE id = :id"), {"id": row.id})
        hint = Hint(queue=Queue.INTAKE_HIGH, shadow="replay", task=TaskName.REPLAY, argument=str(row.id))
        return Replayed(hints=(hint,))
    if row.state == _M.CANCELLED.code:
        raise StateConflictError(_M.CANCELLED, f"Message '{row.message}' was cancelled; nothing of it is sent again.")
    if row.state is not None:
        connection.execute(
            text("""UPDATE messages SET expires_at = greatest(expires_at, now() + make_interval(secs => :more))
                     WHERE id = :id AND expires_at <= now()"""),
            {"id": row.message_id, "more": expires_in_s},
        )
    replayed = _replay_fan_out(connection, row) if row.kind == What.FAN_OUT else _replay_rows(connection, row)
    connection.execute(text("DELETE FROM quarantine WHERE id = :id"), {"id": row.id})
    return replayed


def _replay_rows(connection: Connection, row: Row[Any]) -> Replayed:
    queued = ledger_quarantine.requeue(connection, row.month, row.message_id, row.batch_id, target_id=row.target_id)
    if not queued:
        if row.kind == What.DELIVERY and _is_held(connection, row):
            raise ConflictError(
                f"It may have been sent, and message '{row.message}' says on_unknown = hold: it is not sent twice."
                " Send a new message to that target if it did not arrive."
            )
        return Replayed()
    ref = BatchRef(row.month, row.batch_id)
    batches.reopen(connection, [ref])
    kind = connection.execute(
        text("""SELECT p.kind FROM batches b JOIN providers p ON p.id = b.provider_id
                 WHERE b.month = :month AND b.id = :id"""),
        {"month": ref.month, "id": ref.id},
    ).scalar_one_or_none()
    hints = () if kind is None else (deliver_hint(ref, Channel(row.channel), Lane(row.lane), kind),)
    return Replayed(deliveries=queued, hints=hints)


def _is_held(connection: Connection, row: Row[Any]) -> bool:
    found = connection.execute(
        text("""SELECT 1 FROM deliveries WHERE month = :month AND message_id = :message AND target_id = :target
                   AND error_code = :code"""),
        {"month": row.month, "message": row.message_id, "target": row.target_id, "code": ledger_quarantine.CODE},
    ).one_or_none()
    return found is not None


def _replay_fan_out(connection: Connection, row: Row[Any]) -> Replayed:
    """The sweep takes it up within a second."""
    connection.execute(
        text(f"""UPDATE messages SET expanded = false, failure = NULL, finished_at = NULL, updated_at = now(),
                        state = {_M.PROCESSING.code}, hinted_at = NULL, hints = 1 WHERE id = :id"""),
        {"id": row.message_id},
    )
    return Replayed()


@dataclass(frozen=True, slots=True)
class KeptTask:
    """A task somebody wants tried again."""

    number: int
    task_id: str
    said: object


def kept_task(connection: Connection, vault: Vault, number: str) -> KeptTask | None:
    """The task of an entry that is to be replayed, or None: nobody asked, or it is gone."""
    row = connection.execute(
        text("""SELECT id, task_id, sealed FROM quarantine
                 WHERE id::text = :id AND replayed_at IS NOT NULL AND sealed IS NOT NULL"""),
        {"id": number},
    ).one_or_none()
    return None if row is None else KeptTask(row.id, row.task_id, vault.open(bytes(row.sealed)))


def forget(connection: Connection, number: int) -> None:
    """An entry was dealt with."""
    connection.execute(text("DELETE FROM quarantine WHERE id = :id"), {"id": number})


def forget_old(connection: Connection, *, retention_days: int) -> None:
    """Drop tasks after `TASK_DAYS` days, and entries whose rows are past retention."""
    connection.execute(
        text(f"""DELETE FROM quarantine
                  WHERE created_at < now() - make_interval(days => CASE WHEN kind = '{What.TASK}' THEN :task_days
                                                                   ELSE :days END)"""),
        {"task_days": TASK_DAYS, "days": retention_days},
    )
