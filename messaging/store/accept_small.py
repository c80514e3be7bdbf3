"""Accept messages to a few users and targets in one statement: the usual case, and the one people wait for.

`migrations/accept_smalls.sql` has the function, and why it is one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, text

from messaging.status import DeliveryStatus
from messaging.store.messages import Inserted, NewMessage

_ACCEPT = text("SELECT * FROM accept_smalls(CAST(:messages AS jsonb))")

PATIENCE_MS = 250
"""How long messages accepted together wait for somebody's lock, before each waits for its own."""

# The messages come out of an expression with the time limit in it, so that the limit is set before the first lock.
_ACCEPT_TOGETHER = text(f"""
SELECT a.* FROM (SELECT set_config('lock_timeout', '{PATIENCE_MS}', true) AS limited OFFSET 0) p,
                LATERAL accept_smalls(CASE WHEN p.limited IS NOT NULL THEN CAST(:messages AS jsonb) END) a
""")


@dataclass(frozen=True, kw_only=True)
class Small:
    """A message to a few users and targets. `new.lane` is HIGH unless the caller chose one."""

    project_id: int
    new: NewMessage
    users: Sequence[str]
    targets: Sequence[str]
    most: int
    """The size below which an audience is small."""


@dataclass(frozen=True, kw_only=True)
class SmallAccepted:
    """A message that was inserted with all its deliveries."""

    inserted: Inserted
    totals: dict[DeliveryStatus, int]
    batches: Sequence[tuple[int, str]]
    """(batch, kind of its provider) of those with something to send."""


def accept_small(connection: Connection, small: Small) -> SmallAccepted | None:
    """The accepted message; None, and nothing written, where it is not so simple: accept it the general way."""
    row = connection.execute(_ACCEPT, {"messages": json.dumps([said(small, 0)])}).one_or_none()
    return None if row is None else accepted(row)


def accept_smalls(connection: Connection, smalls: Sequence[Small]) -> list[SmallAccepted | None]:
    """What `accept_small` says of each, in one statement: all that are accepted, or none where it fails.

    Of two with the same id, the first is accepted. They are written in the order of their ids, so that two statements
    with the same ones never wait for each other in a circle. Where somebody else holds a lock for long, it raises
    `OperationalError` and leaves the limit in the transaction it is in: give it one of its own, and then accept each
    message by itself.
    """
    first: dict[tuple[int, str], int] = {}
    for place, small in enumerate(smalls):
        first.setdefault((small.project_id, small.new.public_id), place)
    each_said = [said(smalls[place], place) for _, place in sorted(first.items())]
    rows = connection.execute(_ACCEPT_TOGETHER, {"messages": json.dumps(each_said)})
    found = {row.place: accepted(row) for row in rows}
    return [found.get(place) for place in range(len(smalls))]


def said(small: Small, place: int) -> dict[str, Any]:
    """The message as the functions of the database take it."""
    new = small.new
    return {
        "place": place,
        "project": small.project_id,
        "public_id": new.public_id,
        "channel": new.channel,
        "lane": new.lane,
        "content": new.content,
        "named": new.named,
        "users": list(dict.fromkeys(small.users)),
        "targets": list(dict.fromkeys(small.targets)),
        "on_unknown": new.on_unknown,
        "expires_at": None if new.expires_at is None else new.expires_at.isoformat(),
        "expires_in_s": new.expires_in_s,
        "most": small.most,
        "traceparent": new.traceparent,
    }


def accepted(row: Row[Any]) -> SmallAccepted:
    """The message as they answer it."""
    return SmallAccepted(
        inserted=Inserted(row.o_id, row.o_created_at, row.o_expires_at, row.o_month, 0),
        totals={
            DeliveryStatus.QUEUED: row.o_total - row.o_suppressed - row.o_failed,
            DeliveryStatus.SUPPRESSED: row.o_suppressed,
            DeliveryStatus.FAILED: row.o_failed,
        },
        batches=list(zip(row.o_batch_ids, row.o_kinds, strict=True)),
    )
