"""The audit log: what operators did."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text


@dataclass(frozen=True, slots=True)
class AuditView:
    """Something somebody did."""

    number: int
    at: datetime
    operator: str
    project: str | None
    action: str
    subject: str
    details: Mapping[str, Any]


def note(
    connection: Connection,
    *,
    operator: str,
    action: str,
    project: str | None = None,
    subject: str = "",
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write down that `operator` did it. No secrets and no recipients' addresses belong in `details`."""
    connection.execute(
        text(
            "INSERT INTO audit_log (operator, project, action, subject, details)"
            " VALUES (:operator, :project, :action, :subject, CAST(:details AS jsonb))"
        ),
        {
            "operator": operator,
            "project": project,
            "action": action,
            "subject": subject,
            "details": json.dumps(dict(details or {}), default=str),
        },
    )


def listed(
    connection: Connection, *, project: str | None = None, before: int | None = None, limit: int = 50
) -> Sequence[AuditView]:
    """What was done, the newest first: in a project, or everywhere."""
    where = " AND ".join(
        each for each, said in (("project = :project", project), ("id < :before", before)) if said is not None
    )
    rows = connection.execute(
        text(
            "SELECT id, at, operator, project, action, subject, details FROM audit_log"
            f"{f' WHERE {where}' if where else ''} ORDER BY id DESC LIMIT :limit"
        ),
        {"project": project, "before": before, "limit": limit},
    )
    return [AuditView(row.id, row.at, row.operator, row.project, row.action, row.subject, row.details) for row in rows]
