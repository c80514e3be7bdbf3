"""Accept a message to a few users and targets in one statement: the usual case, and the one people wait for.

`migrations/accept_small.sql` has the function, and why it is one.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, text

from messaging.status import DeliveryStatus
from messaging.store.messages import Inserted, NewMessage

_ACCEPT = text("""
SELECT * FROM accept_small(
    :project, :public_id, :channel, :lane, CAST(:content AS jsonb), CAST(:named AS jsonb), CAST(:users AS text[]),
    CAST(:targets AS text[]), :on_unknown, CAST(:expires_at AS timestamptz), :expires_in_s, :most)
""")


@dataclass(frozen=True, kw_only=True)
class SmallAccepted:
    """A message that was inserted with all its deliveries."""

    inserted: Inserted
    totals: dict[DeliveryStatus, int]
    batches: Sequence[tuple[int, str]]
    """(batch, kind of its provider) of those with something to send."""


def accept_small(
    connection: Connection,
    project_id: int,
    new: NewMessage,
    *,
    users: Sequence[str],
    targets: Sequence[str],
    most: int,
) -> SmallAccepted | None:
    """The accepted message; None, and nothing written, where it is not so simple: accept it the general way.

    `new.lane` is HIGH unless the caller chose one; `most` is the size below which an audience is small.
    """
    row = connection.execute(
        _ACCEPT,
        {
            "project": project_id,
            "public_id": new.public_id,
            "channel": new.channel,
            "lane": new.lane,
            "content": json.dumps(new.content),
            "named": json.dumps(new.named),
            "users": list(dict.fromkeys(users)),
            "targets": list(dict.fromkeys(targets)),
            "on_unknown": new.on_unknown,
            "expires_at": new.expires_at,
            "expires_in_s": new.expires_in_s,
            "most": most,
        },
    ).one()
    if row.o_id is None:
        return None
    return SmallAccepted(
        inserted=Inserted(row.o_id, row.o_created_at, row.o_expires_at, row.o_month, 0),
        totals={
            DeliveryStatus.QUEUED: row.o_total - row.o_suppressed - row.o_failed,
            DeliveryStatus.SUPPRESSED: row.o_suppressed,
            DeliveryStatus.FAILED: row.o_failed,
        },
        batches=list(zip(row.o_batch_ids, row.o_kinds, strict=True)),
    )
