"""Files that operators import: how far each is, for whoever looks at it, whichever process works on it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, text

from messaging.errors import ConflictError, NotFoundError
from messaging.ids import new_id

LOST_S = 90.0
"""Whoever works on an import says so at least every ten seconds; silent for so long, it is gone."""
KEPT_DAYS = 7
_QUOTED = re.compile(r"'[^']*'")


class ImportKind(StrEnum):
    """What is imported."""

    SUBSCRIBERS = "subscribers"
    SUPPRESSIONS = "suppressions"


@dataclass(frozen=True, kw_only=True)
class ImportSums:
    """How far an import is."""

    read_bytes: int = 0
    rows: int = 0
    added: int = 0
    raised: int = 0
    """Suppressions that reach further than before."""
    existing: int = 0
    rejected: int = 0


@dataclass(frozen=True, kw_only=True)
class ImportView:
    """An import as its reader sees it."""

    id: str
    kind: ImportKind
    subject: str
    """Public id of the topic."""
    operator: str
    size_bytes: int
    sums: ImportSums
    report: Sequence[tuple[int, str]]
    """(line, reason) of bad lines; where one was too many to keep, `sums.rejected` counts it all the same."""
    failure: str | None
    is_lost: bool
    """Whoever worked on it has ended. What it had done stays."""
    created_at: datetime
    finished_at: datetime | None

    @property
    def is_running(self) -> bool:
        """Whether somebody works on it."""
        return self.finished_at is None and not self.is_lost

    @property
    def share(self) -> float:
        """Which part of it is done, 0 to 1."""
        if self.finished_at is not None and self.failure is None:
            return 1.0
        return min(1.0, self.sums.read_bytes / self.size_bytes) if self.size_bytes else 0.0


_COLUMNS = (
    "public_id, kind, subject, operator, size_bytes, read_bytes, rows, added, raised, existing, rejected, report,"
    " failure, created_at, finished_at,"
    f" finished_at IS NULL AND seen_at < now() - make_interval(secs => {LOST_S}) AS is_lost"
)
_WITHOUT_REPORT = _COLUMNS.replace(" report,", " CAST('[]' AS jsonb) AS report,")


def begin(
    connection: Connection, project_id: int, *, kind: ImportKind, subject: str, operator: str, size_bytes: int
) -> str:
    """The id of a new import; raises `ConflictError` while another of the project goes on."""
    connection.execute(
        text("SELECT pg_advisory_xact_lock(hashtextextended('console import', :project))"), {"project": project_id}
    )
    busy = connection.execute(
        text(
            "SELECT 1 FROM console_imports WHERE project_id = :project AND finished_at IS NULL"
            " AND seen_at > now() - make_interval(secs => :lost) LIMIT 1"
        ),
        {"project": project_id, "lost": LOST_S},
    ).one_or_none()
    if busy is not None:
        raise ConflictError("Another file is being imported into this project. Wait until it is done, then send this.")
    connection.execute(
        text("DELETE FROM console_imports WHERE created_at < now() - make_interval(days => :days)"),
        {"days": KEPT_DAYS},
    )
    public_id = new_id()
    connection.execute(
        text(
            "INSERT INTO console_imports (project_id, public_id, kind, subject, operator, size_bytes)"
            " VALUES (:project, :id, :kind, :subject, :operator, :size)"
        ),
        {
            "project": project_id,
            "id": public_id,
            "kind": kind,
            "subject": subject,
            "operator": operator,
            "size": size_bytes,
        },
    )
    return public_id


def move(connection: Connection, public_id: str, sums: ImportSums) -> None:
    """It is so far now."""
    connection.execute(
        text(
            "UPDATE console_imports SET seen_at = now(), read_bytes = greatest(read_bytes, :read_bytes),"
            " rows = :rows, rejected = :rejected WHERE public_id = :id AND finished_at IS NULL"
        ),
        {"id": public_id, "read_bytes": sums.read_bytes, "rows": sums.rows, "rejected": sums.rejected},
    )


def beat(connection: Connection, public_id: str) -> None:
    """Somebody still works on it."""
    connection.execute(
        text("UPDATE console_imports SET seen_at = now() WHERE public_id = :id AND finished_at IS NULL"),
        {"id": public_id},
    )


def finish(connection: Connection, public_id: str, sums: ImportSums, report: Sequence[tuple[int, str]]) -> None:
    """It is done. Reasons are kept without what they quote: that may be somebody's address."""
    kept = [[line, _QUOTED.sub("'…'", reason)] for line, reason in report]
    connection.execute(
        text(
            "UPDATE console_imports SET seen_at = now(), finished_at = now(), read_bytes = size_bytes, rows = :rows,"
            " added = :added, raised = :raised, existing = :existing, rejected = :rejected,"
            " report = CAST(:report AS jsonb) WHERE public_id = :id"
        ),
        {
            "id": public_id,
            "rows": sums.rows,
            "added": sums.added,
            "raised": sums.raised,
            "existing": sums.existing,
            "rejected": sums.rejected,
            "report": json.dumps(kept),
        },
    )


def fail(connection: Connection, public_id: str, reason: str) -> None:
    """It ended before its time."""
    connection.execute(
        text("UPDATE console_imports SET finished_at = now(), failure = :reason WHERE public_id = :id"),
        {"id": public_id, "reason": _QUOTED.sub("'…'", reason)},
    )


def get(connection: Connection, project_id: int, public_id: str) -> ImportView:
    """The import; raises `NotFoundError`."""
    row = connection.execute(
        text(f"SELECT {_COLUMNS} FROM console_imports WHERE project_id = :project AND public_id = :id"),
        {"project": project_id, "id": public_id},
    ).one_or_none()
    if row is None:
        raise NotFoundError("import", public_id)
    return _view(row)


def listed(
    connection: Connection, project_id: int, *, kind: ImportKind, subject: str = "", limit: int = 5
) -> Sequence[ImportView]:
    """The newest imports of a topic, or of suppressions, without their reports."""
    rows = connection.execute(
        text(
            f"SELECT {_WITHOUT_REPORT} FROM console_imports"
            " WHERE project_id = :project AND kind = :kind AND subject = :subject ORDER BY id DESC LIMIT :limit"
        ),
        {"project": project_id, "kind": kind, "subject": subject, "limit": limit},
    )
    return [_view(row) for row in rows]


def _view(row: Row[Any]) -> ImportView:
    return ImportView(
        id=row.public_id,
        kind=ImportKind(row.kind),
        subject=row.subject,
        operator=row.operator,
        size_bytes=row.size_bytes,
        sums=ImportSums(
            read_bytes=row.read_bytes,
            rows=row.rows,
            added=row.added,
            raised=row.raised,
            existing=row.existing,
            rejected=row.rejected,
        ),
        report=[(int(line), str(reason)) for line, reason in row.report],
        failure=row.failure,
        is_lost=row.is_lost,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
