"""Change a message that has not begun, or take it away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from messaging.channel import Channel, Lane, OnUnknown
from messaging.errors import NotFoundError, StateConflictError
from messaging.status import MessageState
from messaging.store.messages import NewMessage, values

_M = MessageState


@dataclass(frozen=True, kw_only=True)
class Unsent:
    """A message that has not begun, locked for this transaction."""

    number: int
    project_id: int
    public_id: str
    state: MessageState
    channel: Channel
    content: Mapping[str, Any]
    named: Mapping[str, Any]
    on_unknown: OnUnknown
    scheduled_at: datetime | None

    @property
    def chosen_expiry(self) -> datetime | None:
        """When it expires, where somebody chose that; None where it follows from when it is sent."""
        said = self.named.get("expires_at")
        return None if said is None else datetime.fromisoformat(said)

    @property
    def chosen_lane(self) -> Lane | None:
        """Its lane, where somebody chose that; None where it follows from the size of its audience."""
        said = self.named.get("lane")
        return None if said is None else Lane(said)


def lock_unsent(connection: Connection, project_id: int, public_id: str) -> Unsent:
    """The draft or scheduled message; raises `NotFoundError`, or `StateConflictError` once it has begun.

    A scheduled message whose time has come counts as begun: the sweep may be starting it.
    """
    row = connection.execute(
        text("""SELECT id, state, channel, content, audience, on_unknown, scheduled_at,
                       scheduled_at <= now() AS due
                  FROM messages WHERE project_id = :project AND public_id = :id AND deleted_at IS NULL FOR UPDATE"""),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError("message", public_id)
    state = MessageState.of(row.state)
    if state not in {_M.DRAFT, _M.SCHEDULED} or (state is _M.SCHEDULED and row.due):
        raise StateConflictError(state, f"Message '{public_id}' is {state} and can't be changed any more.")
    return Unsent(
        number=row.id,
        project_id=project_id,
        public_id=public_id,
        state=state,
        channel=Channel(row.channel),
        content=row.content,
        named=row.audience,
        on_unknown=OnUnknown(row.on_unknown),
        scheduled_at=row.scheduled_at,
    )


_REVISE = text(f"""
UPDATE messages SET lane = :lane, state = :state, content = CAST(:content AS jsonb), audience = CAST(:named AS jsonb),
       topic_ids = :topics, user_ids = :users, target_ids = :targets, cc_ids = :cc, bcc_ids = :bcc,
       scheduled_at = :scheduled_at, failure = :failure, updated_at = now(),
       expires_at = coalesce(:expires_at, coalesce(:scheduled_at, now()) + make_interval(secs => :expires_in_s)),
       finished_at = CASE WHEN :state = {_M.FAILED.code} THEN now() END,
       hinted_at = CASE WHEN :state = {_M.PROCESSING.code} THEN now() END,
       begun_at = CASE WHEN :state = {_M.PROCESSING.code} THEN now() END,
       hints = CASE WHEN :state = {_M.PROCESSING.code} THEN 1 ELSE 0 END
 WHERE id = :number
""")


def revise(connection: Connection, number: int, new: NewMessage) -> None:
    """Give a locked, unsent message what `new` says; its id and channel stay."""
    connection.execute(_REVISE, values(new) | {"number": number})


def delete(connection: Connection, project_id: int, public_id: str) -> None:
    """Hide a message and free its id; one that is going out is cancelled. Its ledger goes with its month.

    Raises `NotFoundError`, and `StateConflictError` for a scheduled message whose time has come.
    """
    row = connection.execute(
        text("""SELECT id, state, scheduled_at <= now() AS due FROM messages
                 WHERE project_id = :project AND public_id = :id AND deleted_at IS NULL FOR UPDATE"""),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError("message", public_id)
    state = MessageState.of(row.state)
    if state is _M.SCHEDULED and row.due:
        raise StateConflictError(state, f"Message '{public_id}' is just starting. Wait a second, or cancel it.")
    # '~' is in no id: the old name can't be asked for, and is free
    connection.execute(
        text(f"""UPDATE messages SET deleted_at = now(), updated_at = now(), public_id = public_id || '~' || id,
                        state = CASE WHEN finished_at IS NULL THEN {_M.CANCELLED.code} ELSE state END
                  WHERE id = :number"""),
        {"number": row.id},
    )
