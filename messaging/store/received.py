"""Who got what: the deliveries of an address over all messages, the newest first.

The ledger's key is (month, message, target). Within a month PostgreSQL skips from message to message
(https://www.postgresql.org/docs/18/indexes-multicolumn.html, skip scan); a stretch of messages at a time and a limit of
patience keep it short where a month holds a million messages to one recipient each.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, text

from messaging.address import normalise
from messaging.channel import Channel
from messaging.errors import InvalidArgumentError
from messaging.ids import delivery_tag
from messaging.status import DeliveryStatus
from messaging.store.addresses import PROJECT

PATIENCE_S = 0.08
_FIRST_STRETCH = 20_000
_LONGEST_STRETCH = 400_000
_MOST_TARGETS = 100


@dataclass(frozen=True, kw_only=True)
class Address:
    """A target that a search for a person leads to."""

    number: int
    id: str
    channel: Channel
    identifier: str
    user_id: str | None


_VIEW = """
SELECT t.id, t.public_id, t.channel, t.identifier, u.public_id AS user_id
  FROM named n JOIN targets t ON t.id = n.id LEFT JOIN users u ON u.id = t.user_id ORDER BY t.id LIMIT :most
"""
_OF_IDS = text(f"""
WITH named AS (SELECT id FROM targets WHERE project_id = {PROJECT} AND public_id = ANY(CAST(:ids AS text[])))
{_VIEW}
""")
_TARGETS = text(f"""
WITH named AS (
    SELECT id FROM targets WHERE project_id = {PROJECT} AND public_id = :said
    UNION
    SELECT id FROM targets
     WHERE user_id = (SELECT u.id FROM users u WHERE u.project_id = {PROJECT} AND u.public_id = :said)
    UNION
    SELECT id FROM targets WHERE project_id = {PROJECT} AND channel = ANY(CAST(:channels AS text[]))
       AND coalesce(provider_id, 0) = ANY(CAST(:providers AS bigint[])) AND identifier = ANY(CAST(:spelled AS text[])))
{_VIEW}
""")


def addresses(connection: Connection, project_id: int, said: str) -> list[Address]:
    """The targets that `said` names: an address in any spelling, or the id of a target or user. None for nothing."""
    if not said:
        return []
    providers = connection.execute(
        text("SELECT id FROM providers WHERE project_id = :project"), {"project": project_id}
    )
    given = {
        "project": project_id,
        "said": said,
        "spelled": _spelled(said),
        "channels": list(Channel),
        "providers": [0, *providers.scalars()],
        "most": _MOST_TARGETS,
    }
    return [_address(row) for row in connection.execute(_TARGETS, given)]


def of_ids(connection: Connection, project_id: int, ids: Sequence[str]) -> list[Address]:
    """The targets of these ids, those that are there."""
    given = {"project": project_id, "ids": list(ids), "most": _MOST_TARGETS}
    return [_address(row) for row in connection.execute(_OF_IDS, given)]


def _address(row: Row[Any]) -> Address:
    return Address(
        number=row.id,
        id=row.public_id,
        channel=Channel(row.channel),
        identifier=row.identifier,
        user_id=row.user_id,
    )


def _spelled(said: str) -> list[str]:
    spelled = {said, said.lower()}
    for channel in (Channel.EMAIL, Channel.SMS):
        try:
            spelled.add(normalise(channel, said))
        except InvalidArgumentError:
            continue
    return sorted(spelled)


class Place(NamedTuple):
    """How far a search has come: every message of the month from `message` on has been looked at."""

    month: date
    message: int


@dataclass(frozen=True, kw_only=True)
class Received:
    """One delivery, of whatever message."""

    tag: str
    target: int
    """Number of the target."""
    message_id: str
    channel: Channel
    title: str
    status: DeliveryStatus
    error_code: str | None
    attempts: int
    updated_at: datetime
    place: Place


@dataclass(frozen=True, kw_only=True)
class ReceivedPage:
    """A page of deliveries, and where to look on."""

    deliveries: list[Received]
    before: Place | None
    """None where everything has been looked at."""
    is_cut: bool = False
    """It stopped before the page was full."""


_MONTHS = text(r"""
SELECT to_date(substring(c.relname FROM '[0-9]{4}_[0-9]{2}$'), 'YYYY_MM') AS month
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = to_regclass('deliveries')
 ORDER BY month DESC
""")
_ENDS = text("""
SELECT (SELECT message_id FROM deliveries WHERE month = :month ORDER BY month, message_id LIMIT 1) AS lowest,
       (SELECT message_id FROM deliveries WHERE month = :month ORDER BY month DESC, message_id DESC LIMIT 1) AS highest
""")
_STRETCH = text("""
SELECT f.*, m.public_id, m.channel, coalesce(m.content ->> 'subject', m.content ->> 'title',
       m.content ->> 'content', m.content ->> 'body', '') AS title
  FROM (SELECT d.month, d.message_id, d.target_id, d.status, d.error_code, d.attempts, d.updated_at FROM deliveries d
         WHERE d.month = :month AND d.message_id >= :low AND d.message_id < :high
           AND d.target_id = ANY(CAST(:targets AS bigint[]))
         ORDER BY d.message_id DESC, d.target_id LIMIT :most) f
  LEFT JOIN messages m ON m.id = f.message_id AND m.project_id = :project AND m.deleted_at IS NULL
 ORDER BY f.message_id DESC, f.target_id
""")


def received(
    connection: Connection,
    project_id: int,
    targets: Sequence[int],
    *,
    before: Place | None = None,
    limit: int = 25,
    patience_s: float = PATIENCE_S,
) -> ReceivedPage:
    """What was sent to the targets of these numbers, about `limit` deliveries; `before` is `ReceivedPage.before`."""
    ends_s = time.monotonic() + patience_s
    found: list[Received] = []
    has_looked = False
    for month in connection.execute(_MONTHS).scalars().all():
        if not targets or (before is not None and month > before.month):
            continue
        ends = connection.execute(_ENDS, {"month": month}).one()
        if ends.highest is None:
            continue
        high = before.message if before is not None and month == before.month else ends.highest + 1
        stretch = _FIRST_STRETCH
        while high > ends.lowest:
            if has_looked and time.monotonic() > ends_s:
                return ReceivedPage(deliveries=found, before=Place(month, high), is_cut=True)
            low = max(ends.lowest, high - stretch)
            most = limit + _MOST_TARGETS
            given = {"month": month, "low": low, "high": high, "targets": list(targets), "most": most}
            rows = connection.execute(_STRETCH, given | {"project": project_id}).all()
            if len(rows) == most:  # the last message of them may have more
                low = rows[-1].message_id + 1
            found += [_received(row) for row in rows if row.message_id >= low and row.public_id is not None]
            if len(found) >= limit:
                return _cut_to(found, limit)
            high, stretch, has_looked = low, min(stretch * 4, _LONGEST_STRETCH), True
    return ReceivedPage(deliveries=found, before=None)


def _cut_to(found: list[Received], limit: int) -> ReceivedPage:
    """The page ends with a whole message, so that the next one begins with another."""
    last = found[min(limit, len(found)) - 1].place
    page = [each for each in found if each.place >= last]  # a target has one delivery of a message
    return ReceivedPage(deliveries=page, before=last)


def _received(row: Row[Any]) -> Received:
    return Received(
        tag=delivery_tag(row.month, row.message_id, row.target_id),
        target=row.target_id,
        message_id=row.public_id,
        channel=Channel(row.channel),
        title=row.title,
        status=DeliveryStatus.of(row.status),
        error_code=row.error_code,
        attempts=row.attempts,
        updated_at=row.updated_at,
        place=Place(row.month, row.message_id),
    )
