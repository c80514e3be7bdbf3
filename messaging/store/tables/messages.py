"""Messages, and what their producers must not do twice."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from messaging.store.tables.base import Base, created, identity, project


class Message(Base):
    """What is sent, once created.

    The road never updates this row per batch; totals are folded in by the sweep.
    """

    __tablename__ = "messages"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    public_id: Mapped[str]
    channel: Mapped[str]
    lane: Mapped[str]
    state: Mapped[int] = mapped_column(SmallInteger)
    content: Mapped[dict[str, Any]]
    audience: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """Public ids as the caller named them: users, targets, topics, cc, bcc, addresses."""
    topic_ids: Mapped[list[int]] = mapped_column(server_default="{}")
    user_ids: Mapped[list[int]] = mapped_column(server_default="{}")
    target_ids: Mapped[list[int]] = mapped_column(server_default="{}")
    cc_ids: Mapped[list[int]] = mapped_column(server_default="{}")
    bcc_ids: Mapped[list[int]] = mapped_column(server_default="{}")
    on_unknown: Mapped[str]
    scheduled_at: Mapped[datetime | None]
    expires_at: Mapped[datetime]
    month: Mapped[date | None]
    """Partition of its batches and deliveries; set when fan-out starts."""
    mark: Mapped[int | None]
    """Highest subscription number that belongs to the audience."""
    cursor: Mapped[int] = mapped_column(server_default="0")
    """Highest target id expanded so far."""
    expanded: Mapped[bool] = mapped_column(server_default="false")
    """True when every page of the audience has its deliveries."""
    hinted_at: Mapped[datetime | None]
    hints: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    estimate: Mapped[int | None]
    fixed_provider_id: Mapped[int | None]
    """The one provider that may carry it, for a test of an account; nobody stands in."""
    failure: Mapped[str | None]
    """Why the message as a whole failed, in words."""
    totals: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """Deliveries by status, folded in when the message finishes and whenever a receipt changes them."""
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    started_at: Mapped[datetime | None]
    begun_at: Mapped[datetime | None]
    """When a draft, or a scheduled message, was told to go out at once."""
    traceparent: Mapped[str | None]
    """The span it was accepted in, as W3C Trace Context writes it; None where nobody traces it."""
    finished_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    """Hidden since then; its rows go with their month. Its id is free for another message."""
    __table_args__ = (
        UniqueConstraint("project_id", "public_id"),
        # what the sweep looks at: scheduled messages, and those processing, paused or being cancelled
        Index("messages_scheduled", "scheduled_at", postgresql_where=text("state = 1")),
        Index("messages_active", "id", postgresql_where=text("finished_at IS NULL AND state IN (2, 3, 7)")),
    )


class IntakeKey(Base):
    """A task id or idempotency key that was used, with the hash of what it said."""

    __tablename__ = "intake_keys"
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[bytes]
    message_public_id: Mapped[str]
    keep_until: Mapped[datetime]
    created_at: Mapped[datetime] = created()
    # a revocation knows the task id and not the project
    __table_args__ = (Index("intake_keys_by_key", "key"),)


class HttpAnswer(Base):
    """The answer to a request that carried an idempotency key."""

    __tablename__ = "http_answers"
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_mac: Mapped[bytes]
    status: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[dict[str, Any] | None]
    keep_until: Mapped[datetime]
    created_at: Mapped[datetime] = created()
    __table_args__ = (Index("http_answers_by_age", "keep_until"),)


class RateLimit(Base):
    """How often something was tried in the current window."""

    __tablename__ = "rate_limits"
    key: Mapped[str] = mapped_column(primary_key=True)
    hits: Mapped[int] = mapped_column(Integer)
    resets_at: Mapped[datetime]


class Revocation(Base):
    """A task revoked before its message was accepted."""

    __tablename__ = "revocations"
    key: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime] = created()


class Refusal(Base):
    """Something we declined to do for a producer, counted by reason: a task that can't even be named."""

    __tablename__ = "refusals"
    id: Mapped[int] = identity()
    task_id: Mapped[str]
    task_name: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime] = created()
