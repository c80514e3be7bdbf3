"""Keys under which a message was accepted before: Celery task ids and idempotency keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from messaging.errors import IdempotencyConflictError, NotFoundError
from messaging.store.accept_small import Small, SmallAccepted, accepted, said
from messaging.store.retention import IDEMPOTENCY_DAYS


def reserve(
    connection: Connection,
    project_id: int,
    key: str,
    body_sha256: bytes,
    message_id: str,
    *,
    at_least_until: datetime | None = None,
) -> str | None:
    """None if the key is new (now reserved for `message_id`), else the id of the message it made before.

    `at_least_until` keeps it longer than usual. Waits for a transaction that is just using the same key. Raises
    `IdempotencyConflictError` when the key was used with another body.
    """
    new = connection.execute(
        text("""INSERT INTO intake_keys (project_id, key, body_sha256, message_public_id, keep_until)
                VALUES (:project, :key, :hash, :message, greatest(now() + make_interval(days => :days), :until))
                ON CONFLICT (project_id, key) DO NOTHING RETURNING 1"""),
        {"project": project_id, "key": key, "hash": body_sha256, "message": message_id, "days": IDEMPOTENCY_DAYS}
        | {"until": at_least_until},
    ).one_or_none()
    return None if new is not None else _used_by(connection, project_id, key, body_sha256)


def _used_by(connection: Connection, project_id: int, key: str, body_sha256: bytes) -> str:
    """The message that was made under a key that is taken."""
    used = connection.execute(
        text("SELECT body_sha256, message_public_id FROM intake_keys WHERE project_id = :project AND key = :key"),
        {"project": project_id, "key": key},
    ).one()
    return _same(key, used.body_sha256, body_sha256, used.message_public_id)


def _same(key: str, used_sha256: bytes, body_sha256: bytes, message: str) -> str:
    """`message`, where it was made of the same body."""
    if bytes(used_sha256) != body_sha256:
        raise IdempotencyConflictError(
            f"The key '{key}' was used before with other content; nothing was sent. Use a new key for a new message."
        )
    return message


@dataclass(frozen=True, slots=True)
class Entered:
    """What is known of a task that has just come."""

    project_id: int
    before: str | None
    """The id of the message it became before."""
    is_revoked: bool
    accepted: SmallAccepted | None = None
    """Its message, where it was accepted in the same step."""


_ENTER = text("""
SELECT * FROM enter_task(:project, :key, :hash, :message, :days, :until, CAST(:small AS jsonb))
""")


def enter(
    connection: Connection,
    project: str,
    key: str,
    body_sha256: bytes,
    message_id: str,
    *,
    at_least_until: datetime | None = None,
    small: Small | None = None,
) -> Entered:
    """What `projects.find`, `lock` and `reserve` say one after the other, and whether it was revoked: one round trip.

    A new task's message is accepted with it where it is `small`, whose project is the one found, and that simple.
    Raises `NotFoundError` and `IdempotencyConflictError`, as they do.
    """
    row = connection.execute(
        _ENTER,
        {"project": project, "key": key, "hash": body_sha256, "message": message_id, "days": IDEMPOTENCY_DAYS}
        | {"until": at_least_until, "small": None if small is None else json.dumps(said(small, 0))},
    ).one()
    if row.o_project is None:
        raise NotFoundError("project", project)
    if row.o_new:
        return Entered(row.o_project, None, row.o_revoked, None if row.o_id is None else accepted(row))
    return Entered(row.o_project, _same(key, row.o_hash, body_sha256, row.o_before), is_revoked=False)


def revoke(connection: Connection, key: str) -> None:
    """Remember that a task was revoked before its message was accepted."""
    connection.execute(text("INSERT INTO revocations (key) VALUES (:key) ON CONFLICT DO NOTHING"), {"key": key})


def refuse(connection: Connection, *, task_id: str, task_name: str, reason: str) -> None:
    """Keep why a task was declined that could not become a message."""
    connection.execute(
        text("INSERT INTO refusals (task_id, task_name, reason) VALUES (:id, :name, :reason)"),
        {"id": task_id, "name": task_name, "reason": reason},
    )


def lock(connection: Connection, key: str) -> None:
    """Let one transaction at a time decide about `key`: a task and its revocation never miss each other."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 1))"), {"key": key})


def find(connection: Connection, key: str) -> list[tuple[int, str]]:
    """(project, message id) of every message made under `key`; a key is unique in a project."""
    rows = connection.execute(
        text("SELECT project_id, message_public_id FROM intake_keys WHERE key = :key"), {"key": key}
    )
    return [(row.project_id, row.message_public_id) for row in rows]
