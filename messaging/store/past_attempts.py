"""Attempts that another one followed: what the row of the ledger no longer says.

A row of `deliveries` holds the outcome of its last attempt. Whoever is about to send it again keeps that outcome here
first; one that is accepted at the first attempt has nothing here. `times` counts answers that cost no attempt, such as
429: however often they come, they are one row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, text

_KEY = "month, message_id, target_id, provider_id, attempt, code"


@dataclass(frozen=True, kw_only=True)
class AttemptView:
    """What came of an attempt that did not end the delivery, or ended it until somebody sent it again."""

    attempt: int
    """1 on the first try."""
    provider_id: str | None
    """None when the provider has been deleted."""
    code: str | None
    reason: str | None
    times: int
    """How often the provider said so before it let this attempt pass; 1 nearly always."""
    first_at: datetime
    at: datetime
    """When it said so last."""


def keeping(rows: str) -> str:
    """The statement that keeps the outcomes of `rows`.

    `rows` is a SELECT of month, message, target, provider, attempt, code and reason. The same outcome of the same
    attempt is counted; what ended before anybody tried it has no attempt to keep.
    """
    return f"""
        INSERT INTO past_attempts ({_KEY}, reason)
        SELECT r.month, r.message, r.target, coalesce(r.provider, 0), r.attempt, coalesce(r.code, ''), r.reason
          FROM ({rows}) AS r (month, message, target, provider, attempt, code, reason)
         WHERE r.attempt > 0
        ON CONFLICT ({_KEY}) DO UPDATE
           SET times = past_attempts.times + 1, at = now(), reason = excluded.reason"""


def of_deliveries(
    connection: Connection, month: date, message_id: int, target_ids: Sequence[int]
) -> dict[int, list[AttemptView]]:
    """Past attempts of these deliveries of a message, each in the order of time; those that have none are left out."""
    rows = connection.execute(
        text("""SELECT a.target_id, a.attempt, p.public_id AS provider, a.code, a.reason, a.times, a.first_at, a.at
                  FROM past_attempts a LEFT JOIN providers p ON p.id = a.provider_id
                 WHERE a.month = :month AND a.message_id = :message AND a.target_id = ANY(CAST(:targets AS bigint[]))
                 ORDER BY a.target_id, a.at, a.attempt"""),
        {"month": month, "message": message_id, "targets": list(target_ids)},
    )
    found: dict[int, list[AttemptView]] = {}
    for row in rows:
        seen = AttemptView(
            attempt=row.attempt,
            provider_id=row.provider,
            code=row.code or None,
            reason=row.reason,
            times=row.times,
            first_at=row.first_at,
            at=row.at,
        )
        found.setdefault(row.target_id, []).append(seen)
    return found
