"""The console: operators, what they did, what they import."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, func, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from messaging.store.tables.base import Base, created, identity, project


class Operator(Base):
    """A person who may sign in to the console."""

    __tablename__ = "operators"
    id: Mapped[int] = identity()
    public_id: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    role: Mapped[str]
    """`admin`, `operator` or `viewer`."""
    password_hash: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default="true")
    seen_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()
    __table_args__ = (Index("operators_by_email", func.lower(text("email")), unique=True),)


class OperatorSession(Base):
    """A browser in which an operator is signed in; the secret's SHA-256 is kept."""

    __tablename__ = "operator_sessions"
    secret_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operators.id", ondelete="CASCADE"))
    notice: Mapped[str | None]
    """What the next page says first."""
    expires_at: Mapped[datetime]
    seen_at: Mapped[datetime] = created()
    created_at: Mapped[datetime] = created()


class AuditEntry(Base):
    """Something an operator did. Kept when its project, its subject or the operator is gone."""

    __tablename__ = "audit_log"
    id: Mapped[int] = identity()
    at: Mapped[datetime] = created()
    operator: Mapped[str]
    """Address of the operator."""
    project: Mapped[str | None]
    """Public id; None for what concerns the whole installation."""
    action: Mapped[str]
    subject: Mapped[str] = mapped_column(server_default="")
    details: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    __table_args__ = (Index("audit_log_of_project", "project", "id"),)


class ConsoleImport(Base):
    """A file that an operator imports: how far it is, and which of its lines were bad. Kept for a week."""

    __tablename__ = "console_imports"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    public_id: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    """`subscribers` or `suppressions`."""
    subject: Mapped[str] = mapped_column(server_default="")
    """Public id of the topic."""
    operator: Mapped[str]
    """Address of the operator."""
    size_bytes: Mapped[int]
    read_bytes: Mapped[int] = mapped_column(server_default="0")
    rows: Mapped[int] = mapped_column(server_default="0")
    added: Mapped[int] = mapped_column(server_default="0")
    raised: Mapped[int] = mapped_column(server_default="0")
    """Suppressions that reach further than before."""
    existing: Mapped[int] = mapped_column(server_default="0")
    rejected: Mapped[int] = mapped_column(server_default="0")
    report: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]")
    """(line, reason) of bad lines; a reason repeats nothing that stands in the line."""
    failure: Mapped[str | None]
    finished_at: Mapped[datetime | None]
    seen_at: Mapped[datetime] = created()
    """When whoever works on it last said so."""
    created_at: Mapped[datetime] = created()
    __table_args__ = (Index("console_imports_of_project", "project_id", "id"),)
