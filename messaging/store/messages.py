"""Messages: created, looked at, paused, resumed, cancelled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import Channel, Lane, OnUnknown
from messaging.errors import ConflictError, NotFoundError, StateConflictError
from messaging.status import DeliveryStatus, MessageState
from messaging.store.expand import Audience

_M = MessageState
_INTERNAL = {"internal": True}
"""Marks fields that are shown to nobody outside."""
COUNTERS = ("accepted", "delivered", "failed", "unknown", "expired", "cancelled", "suppressed")


@dataclass(frozen=True, kw_only=True)
class NewMessage:
    """A message about to be created."""

    public_id: str
    channel: Channel
    lane: Lane
    state: MessageState
    content: Mapping[str, Any]
    named: Mapping[str, Any]
    """The audience as the caller named it, by public ids."""
    audience: Audience
    on_unknown: OnUnknown
    scheduled_at: datetime | None
    expires_in_s: float
    """Counted from its schedule, or from now."""
    expires_at: datetime | None
    failure: str | None = None
    expanded: bool = False
    """Its whole audience is expanded in the transaction that inserts it."""
    fixed_provider: int | None = None
    """Number of the one provider that may carry it."""
    traceparent: str | None = None
    """The span it is accepted in."""


_INSERT = text(f"""
INSERT INTO messages (project_id, public_id, channel, lane, state, content, audience, topic_ids, user_ids, target_ids,
                      cc_ids, bcc_ids, on_unknown, scheduled_at, expires_at, failure, finished_at, hinted_at, hints,
                      expanded, month, mark, started_at, fixed_provider_id, traceparent)
VALUES (:project, :public_id, :channel, :lane, :state, CAST(:content AS jsonb), CAST(:named AS jsonb), :topics, :users,
        :targets, :cc, :bcc, :on_unknown, :scheduled_at,
        coalesce(:expires_at, coalesce(:scheduled_at, now()) + make_interval(secs => :expires_in_s)), :failure,
        CASE WHEN :state = {_M.FAILED.code} OR :state = {_M.CANCELLED.code} THEN now() END,
        CASE WHEN :state = {_M.PROCESSING.code} THEN now() END,
        CASE WHEN :state = {_M.PROCESSING.code} THEN 1 ELSE 0 END,
        :expanded, CASE WHEN :expanded THEN date_trunc('month', now() AT TIME ZONE 'UTC')::date END,
        CASE WHEN :expanded THEN (SELECT last_value FROM subscribers_id_seq) END,
        CASE WHEN :expanded THEN now() END, :fixed_provider, :traceparent)
ON CONFLICT (project_id, public_id) DO NOTHING
RETURNING id, created_at, expires_at, date_trunc('month', now() AT TIME ZONE 'UTC')::date AS month,
          (SELECT last_value FROM subscribers_id_seq) AS mark
""")


@dataclass(frozen=True, slots=True)
class Inserted:
    """A message just created: its key, and what its fan-out begins with."""

    number: int
    created_at: datetime
    expires_at: datetime
    month: date
    mark: int


def insert(connection: Connection, project_id: int, new: NewMessage) -> Inserted:
    """The new message; raises `ConflictError` if the id is taken."""
    row = connection.execute(
        _INSERT,
        values(new)
        | {
            "project": project_id,
            "public_id": new.public_id,
            "channel": new.channel,
            "on_unknown": new.on_unknown,
            "expanded": new.expanded,
            "fixed_provider": new.fixed_provider,
            "traceparent": new.traceparent,
        },
    ).one_or_none()
    if row is None:
        raise ConflictError(
            f"A message with the id '{new.public_id}' exists already. Choose another id, or leave it out."
        )
    return Inserted(row.id, row.created_at, row.expires_at, row.month, row.mark)


def values(new: NewMessage) -> dict[str, Any]:
    """What is written of a message that may still change."""
    return {
        "lane": new.lane,
        "state": new.state.code,
        "content": json.dumps(new.content),
        "named": json.dumps(new.named),
        "topics": list(new.audience.topic_ids),
        "users": list(new.audience.user_ids),
        "targets": list(new.audience.target_ids),
        "cc": list(new.audience.cc_ids),
        "bcc": list(new.audience.bcc_ids),
        "scheduled_at": new.scheduled_at,
        "expires_at": new.expires_at,
        "expires_in_s": new.expires_in_s,
        "failure": new.failure,
    }


# -- looking ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MessageView:
    """A message as its reader sees it, with live totals."""

    id: str
    channel: Channel
    lane: Lane
    state: MessageState
    content: Mapping[str, Any]
    audience: Mapping[str, Any]
    on_unknown: OnUnknown
    scheduled_at: datetime | None
    expires_at: datetime
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expanded: bool
    """True when the whole audience has its deliveries: `total` is final."""
    estimate: int | None
    total: int
    totals: Mapping[DeliveryStatus, int] = field(default_factory=dict)
    """Deliveries by status; what is not settled yet counts as queued."""
    doubtful: int = 0
    """Deliveries sent again after an unknown outcome: at most so many duplicates."""
    failure: str | None = None
    waiting_for: str | None = None
    number: int = field(default=0, metadata=_INTERNAL)
    """Our own key."""
    month: date | None = field(default=None, metadata=_INTERNAL)
    """Partition of its ledger; None while it has no deliveries."""

    @property
    def settled(self) -> int:
        """Deliveries that have ended."""
        return sum(by for status, by in self.totals.items() if status.is_settled)


def new_view(
    new: NewMessage, inserted: Inserted, *, expanded: bool, totals: Mapping[DeliveryStatus, int]
) -> MessageView:
    """The view of a message just inserted, without asking for it."""
    total = sum(totals.values())
    return MessageView(
        id=new.public_id,
        channel=new.channel,
        lane=new.lane,
        state=new.state,
        content=new.content,
        audience=new.named,
        on_unknown=new.on_unknown,
        scheduled_at=new.scheduled_at,
        expires_at=inserted.expires_at,
        created_at=inserted.created_at,
        updated_at=inserted.created_at,
        started_at=inserted.created_at if expanded else None,
        finished_at=inserted.created_at if new.state is _M.FAILED else None,
        expanded=expanded,
        estimate=None,
        total=total,
        totals={status: by for status, by in totals.items() if by},
        failure=new.failure,
        number=inserted.number,
        month=inserted.month if expanded else None,
    )


SUMS = ", ".join(f"coalesce(sum(b.{name}), 0)::bigint AS {name}" for name in COUNTERS)

_VIEW = f"""
SELECT m.*, s.* FROM messages m
  LEFT JOIN LATERAL (
    SELECT coalesce(sum(b.total), 0)::bigint AS total, coalesce(sum(b.doubtful), 0)::bigint AS doubtful, {SUMS},
           max(b.waiting_for) AS waiting_for
      FROM batches b WHERE b.month = m.month AND b.message_id = m.id) s ON true
 WHERE m.project_id = :project AND m.deleted_at IS NULL
"""


def view(connection: Connection, project_id: int, public_id: str) -> MessageView:
    """The message with that id; raises `NotFoundError`."""
    row = (
        connection.execute(text(f"{_VIEW} AND m.public_id = :id"), {"project": project_id, "id": public_id})
        .mappings()
        .one_or_none()
    )
    if row is None:
        raise NotFoundError("message", public_id)
    return _view(row)


def views(connection: Connection, project_id: int, numbers: Sequence[int]) -> list[MessageView]:
    """The messages of those numbers, in that order."""
    rows = connection.execute(
        text(f"{_VIEW} AND m.id = ANY(CAST(:ids AS bigint[]))"), {"project": project_id, "ids": list(numbers)}
    )
    found = {row["id"]: _view(row) for row in rows.mappings()}
    return [found[number] for number in numbers if number in found]


def state_of(connection: Connection, project_id: int, public_id: str) -> MessageState | None:
    """The message's state; None for one that does not exist (any more)."""
    code = connection.execute(
        text("SELECT state FROM messages WHERE project_id = :project AND public_id = :id AND deleted_at IS NULL"),
        {"project": project_id, "id": public_id},
    ).scalar()
    return None if code is None else MessageState.of(code)


def list_views(
    connection: Connection, project_id: int, *, limit: int = 25, before: str | None = None
) -> list[MessageView]:
    """The newest messages first; `before` is the id of the last one of the page before."""
    rows = connection.execute(
        text(f"""{_VIEW} AND (CAST(:before AS text) IS NULL
                 OR m.id < (SELECT id FROM messages WHERE project_id = :project AND public_id = :before))
                 ORDER BY m.id DESC LIMIT :limit"""),
        {"project": project_id, "before": before, "limit": limit},
    )
    return [_view(row) for row in rows.mappings()]


def _view(row: Mapping[Any, Any]) -> MessageView:
    totals = {DeliveryStatus(name): int(row[name]) for name in COUNTERS if row[name]}
    total = int(row["total"] or 0)
    open_ = total - sum(totals.values())
    if open_:
        totals[DeliveryStatus.QUEUED] = open_
    return MessageView(
        id=row["public_id"],
        channel=Channel(row["channel"]),
        lane=Lane(row["lane"]),
        state=MessageState.of(row["state"]),
        content=row["content"],
        audience=row["audience"],
        on_unknown=OnUnknown(row["on_unknown"]),
        scheduled_at=row["scheduled_at"],
        expires_at=row["expires_at"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        expanded=row["expanded"],
        estimate=row["estimate"],
        total=total,
        totals=totals,
        doubtful=int(row["doubtful"] or 0),
        failure=row["failure"],
        waiting_for=row["waiting_for"],
        number=row["id"],
        month=row["month"],
    )


def has_not_begun(connection: Connection, project_id: int, public_id: str) -> bool:
    """Whether it is a draft or scheduled, or was paused while it was."""
    found = connection.execute(
        text(f"""SELECT state IN ({_M.DRAFT.code}, {_M.SCHEDULED.code}) OR state = {_M.PAUSED.code} AND month IS NULL
                   FROM messages WHERE project_id = :project AND public_id = :id AND deleted_at IS NULL"""),
        {"project": project_id, "id": public_id},
    ).scalar_one_or_none()
    return bool(found)


# -- control ---------------------------------------------------------------------------------------


def cancel(connection: Connection, project_id: int, public_id: str) -> MessageState:
    """Stop a message that is not finished; the sweep closes what is open. Raises `ConflictError` if it is finished."""
    return _move(
        connection,
        project_id,
        public_id,
        _M.CANCELLED,
        allowed=(_M.DRAFT, _M.SCHEDULED, _M.PROCESSING, _M.PAUSED),
        failure="Cancelled.",
    )


def pause(connection: Connection, project_id: int, public_id: str) -> MessageState:
    """Send no more of a message until it is resumed, or none where it is scheduled.

    Raises `ConflictError` unless it is processing or scheduled.
    """
    return _move(connection, project_id, public_id, _M.PAUSED, allowed=(_M.PROCESSING, _M.SCHEDULED))


def resume(connection: Connection, project_id: int, public_id: str) -> MessageState:
    """Go on with exactly the rest of a paused message; one whose time has not come is scheduled again.

    Raises `ConflictError` unless it is paused.
    """
    _move(connection, project_id, public_id, _M.PROCESSING, allowed=(_M.PAUSED,))
    row = connection.execute(_RESUMED, {"project": project_id, "id": public_id}).one()
    if row.month is not None:
        connection.execute(_HINT_AGAIN, {"month": row.month, "message": row.id})
    return _M.of(row.state)


_RESUMED = text(f"""
UPDATE messages SET hinted_at = NULL, hints = 0,
       state = CASE WHEN month IS NULL AND scheduled_at > now() THEN {_M.SCHEDULED.code} ELSE state END
 WHERE project_id = :project AND public_id = :id RETURNING id, month, state
""")

# Their hints were taken and came to nothing while it was paused: the sweep need not wait to repeat them.
_HINT_AGAIN = text("""
UPDATE batches b SET hinted_at = NULL, hints = 0
  FROM (SELECT month, id FROM batches WHERE month = :month AND message_id = :message AND state = 0
         ORDER BY id FOR UPDATE SKIP LOCKED) waiting
 WHERE b.month = waiting.month AND b.id = waiting.id
""")


def _move(
    connection: Connection,
    project_id: int,
    public_id: str,
    to: MessageState,
    *,
    allowed: tuple[MessageState, ...],
    failure: str | None = None,
) -> MessageState:
    row = connection.execute(
        text(
            "SELECT id, state FROM messages WHERE project_id = :project AND public_id = :id AND deleted_at IS NULL"
            " FOR UPDATE"
        ),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError("message", public_id)
    state = MessageState.of(row.state)
    if state is to:
        return to
    if state not in allowed:
        raise StateConflictError(
            state, f"Message '{public_id}' is {state}; only {', '.join(allowed)} messages can become {to}."
        )
    connection.execute(
        text("""UPDATE messages SET state = :state, updated_at = now(), failure = coalesce(:failure, failure)
                 WHERE id = :id"""),
        {"id": row.id, "state": to.code, "failure": failure},
    )
    return to
