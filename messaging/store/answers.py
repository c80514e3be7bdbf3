"""Answers kept under an idempotency key, so that a repeated request gets the same one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text

from messaging.errors import IdempotencyConflictError
from messaging.store.retention import IDEMPOTENCY_DAYS


@dataclass(frozen=True, kw_only=True)
class Kept:
    """An answer given before."""

    status: int
    body: Any


def reserve(connection: Connection, project_id: int, key: str, request_mac: bytes) -> Kept | None:
    """None if the key is new (and now reserved), else the answer kept under it.

    Waits for a transaction that is just using the key. Raises `IdempotencyConflictError` when it was used for
    another request.
    """
    new = connection.execute(
        text("""INSERT INTO http_answers (project_id, key, request_mac, keep_until)
                VALUES (:project, :key, :hash, now() + make_interval(days => :days))
                ON CONFLICT (project_id, key) DO NOTHING RETURNING 1"""),
        {"project": project_id, "key": key, "hash": request_mac, "days": IDEMPOTENCY_DAYS},
    ).one_or_none()
    if new is not None:
        return None
    row = connection.execute(
        text("SELECT request_mac, status, body FROM http_answers WHERE project_id = :project AND key = :key"),
        {"project": project_id, "key": key},
    ).one()
    if bytes(row.request_mac) != request_mac:
        raise IdempotencyConflictError(
            f"The idempotency key '{key}' was used before with another request; nothing was done. Use a new key."
        )
    return Kept(status=row.status, body=row.body)


def keep(connection: Connection, project_id: int, key: str, *, status: int, body: Any) -> None:  # noqa: ANN401  JSON
    """Keep the answer under its key."""
    connection.execute(
        text("""UPDATE http_answers SET status = :status, body = CAST(:body AS json)
                 WHERE project_id = :project AND key = :key"""),
        {"project": project_id, "key": key, "status": status, "body": json.dumps(body)},
    )
