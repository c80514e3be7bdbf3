"""The story of one delivery: everything that is known of it, in the order of time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TypeVar

from sqlalchemy import Connection, text

from messaging.channel import Channel
from messaging.errors import NotFoundError
from messaging.ids import parse_delivery_tag
from messaging.status import DeliveryStatus
from messaging.store import delivery_events, past_attempts, recipients
from messaging.store.delivery_events import EventView
from messaging.store.messages import MessageView
from messaging.store.past_attempts import AttemptView
from messaging.store.recipients import RecipientView

_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Something that happened to it."""

    at: datetime
    what: str
    """A sentence."""
    code: str = ""
    """The provider's word for it."""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Story:
    """One delivery with all that is known."""

    recipient: RecipientView
    moments: Sequence[Moment]
    """In the order of time."""
    channel: Channel
    suppressed: str | None
    """Scope of the address on the suppression list, as it is now."""
    retired_at: datetime | None
    """Since when the address is dead."""


_EVIDENCE = text("""
SELECT created_at, status, error_code, provider_message_id FROM evidence
 WHERE month = :month AND message_id = :message AND target_id = :target ORDER BY id
""")
_QUARANTINE = text("""
SELECT q.created_at, q.replayed_at, q.reason FROM quarantine q
 WHERE q.message_id = :message AND (q.target_id = :target OR q.target_id IS NULL AND q.batch_id = :batch) ORDER BY q.id
""")
_TARGET = text("""
SELECT coalesce(t.expired_at, t.dead_at) AS retired_at, x.scope
  FROM targets t LEFT JOIN suppressions x ON x.project_id = t.project_id AND x.channel = t.channel
       AND x.address_hash = t.address_hash
 WHERE t.id = :target
""")


def story(connection: Connection, message: MessageView, tag: str) -> Story:
    """What became of the delivery with that id; raises `NotFoundError` where it is none of the message's."""
    parsed = parse_delivery_tag(tag) if tag.isascii() else None
    found = (
        recipients.of_targets(connection, message, [parsed[2]])
        if parsed is not None and parsed[:2] == (message.month, message.number)
        else []
    )
    if not found:
        raise NotFoundError("delivery", tag)
    recipient = found[0]
    given = {"month": message.month, "message": message.number, **recipient.place._asdict()}
    target = connection.execute(_TARGET, given).one_or_none()
    tried = _of(past_attempts.of_deliveries, connection, message, recipient)
    told = _of(delivery_events.of_deliveries, connection, message, recipient)
    moments = [*_own(recipient, tried), *map(_tried, tried), *map(_told, told)]
    for row in connection.execute(_EVIDENCE, given):
        late = f"An answer that came too late to be written: {DeliveryStatus.of(row.status)}"
        moments.append(Moment(at=row.created_at, what=late, code=row.error_code or ""))
    for row in connection.execute(_QUARANTINE, given):
        moments.append(Moment(at=row.created_at, what="Put into quarantine", reason=row.reason))
        if row.replayed_at is not None:
            moments.append(Moment(at=row.replayed_at, what="Taken out of quarantine, to be sent again"))
    return Story(
        recipient=recipient,
        moments=sorted(moments, key=lambda moment: moment.at),
        channel=message.channel,
        suppressed=None if target is None else target.scope,
        retired_at=None if target is None else target.retired_at,
    )


def _of(
    read: Callable[[Connection, date, int, Sequence[int]], Mapping[int, Sequence[_T]]],
    connection: Connection,
    message: MessageView,
    recipient: RecipientView,
) -> Sequence[_T]:
    """What one of the tables beside the ledger has of the recipient."""
    target = recipient.place.target
    found = {} if message.month is None else read(connection, message.month, message.number, [target])
    return found.get(target, ())


def _tried(past: AttemptView) -> Moment:
    """An attempt that another one followed."""
    provider = past.provider_id or "a provider that was deleted"
    times = f", {past.times} times since {past.first_at:%Y-%m-%d %H:%M:%S} UTC" if past.times > 1 else ""
    what = f"Attempt {past.attempt} over {provider} came to nothing{times}"
    return Moment(at=past.at, what=what, code=past.code or "", reason=past.reason or "")


def _own(recipient: RecipientView, tried: Sequence[AttemptView]) -> list[Moment]:
    """What the ledger's row says by itself, but for an attempt it stands among those `tried` with."""
    row = recipient.delivery
    moments = [Moment(at=row.created_at, what=f"Given to batch {recipient.place.batch}")]
    if row.accepted_at is not None:
        provider = row.provider_id or "a provider that was deleted"
        moments.append(Moment(at=row.accepted_at, what=f"Accepted by {provider}", reason=row.provider_message_id or ""))
    told = row.status is DeliveryStatus.RETRYING and row.error_code in {each.code for each in tried[-1:]}
    if row.status is not DeliveryStatus.ACCEPTED and row.updated_at > row.created_at and not told:
        times = f", after {row.attempts} attempt{'s' if row.attempts != 1 else ''}" if row.attempts else ""
        said = f"{str(row.status).capitalize()}{times}"
        moments.append(Moment(at=row.updated_at, what=said, code=row.error_code or "", reason=row.error or ""))
    if row.due_at is not None and not row.status.is_settled:
        moments.append(Moment(at=row.due_at, what="The next try is due"))
    return moments


def _told(event: EventView) -> Moment:
    """What the provider told later."""
    return Moment(
        at=event.at, what=f"The provider tells: {event.event}", code=event.code or "", reason=event.reason or ""
    )
