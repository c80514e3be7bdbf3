"""Accounts of providers: what they do, and what is known of them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, SmallInteger, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from messaging.store.tables.base import Base, created, identity, project


class Provider(Base):
    """A configured account at a provider."""

    __tablename__ = "providers"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    public_id: Mapped[str]
    kind: Mapped[str]
    channel: Mapped[str]
    name: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default="false")
    credentials: Mapped[bytes]
    """JSON, encrypted."""
    options: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    priority: Mapped[int] = mapped_column(Integer, server_default="0")
    """Lower is tried first."""
    weight: Mapped[int] = mapped_column(Integer, server_default="0")
    """Share of the traffic among providers of the same priority; those without one only stand in."""
    app: Mapped[str | None]
    """Which app its addresses belong to, where an address means nothing to another."""
    limits: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    """Pace: see `messaging.limits`."""
    receipt_key: Mapped[str] = mapped_column(
        unique=True, server_default=text("replace(gen_random_uuid()::text, '-', '')")
    )
    """The secret part of the address it reports to: 122 random bits, short enough for every provider's limit."""
    stopped_at: Mapped[datetime | None]
    stopped_reason: Mapped[str | None]
    stopped_until: Mapped[datetime | None]
    """When it is tried again; None while stopped: when somebody says so."""
    stops: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Stops in a row since it last worked: each pause is longer than the one before."""
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    __table_args__ = (UniqueConstraint("project_id", "public_id"),)


class ProviderLog(Base):
    """What happened to an account: stopped, working again, checked."""

    __tablename__ = "provider_log"
    id: Mapped[int] = identity()
    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"))
    what: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = created()
    __table_args__ = (Index("provider_log_of_provider", "provider_id", "id"),)


class ProviderCheck(Base):
    """A test of an account: its credentials, and perhaps one real message, step by step."""

    __tablename__ = "provider_checks"
    id: Mapped[int] = identity()
    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"))
    public_id: Mapped[str] = mapped_column(unique=True)
    address: Mapped[str | None]
    message_public_id: Mapped[str | None]
    steps: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]")
    outcome: Mapped[str | None]
    """`passed` or `failed`: how the worker's part went, None until then. What becomes of a message is read from it."""
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    __table_args__ = (
        Index("provider_checks_waiting", "id", postgresql_where=text("outcome IS NULL")),
        Index("provider_checks_of_provider", "provider_id", "id"),
    )


class ProviderToken(Base):
    """A token shared by all workers (APNs provider token, OAuth access token), encrypted."""

    __tablename__ = "provider_tokens"
    key: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[bytes]
    minted_at: Mapped[datetime] = created()
    expires_at: Mapped[datetime]
    keep_until: Mapped[datetime]
    """Not replaced before this, even when it was refused."""


class DeadVerdict(Base):
    """A provider called a target dead; weighed against the guard before the target is expired."""

    __tablename__ = "dead_verdicts"
    id: Mapped[int] = identity()
    target_id: Mapped[int]
    provider_id: Mapped[int]
    month: Mapped[date]
    message_id: Mapped[int]
    batch_id: Mapped[int | None]
    """None: told by a receipt, after the message was sent. It is not sent again."""
    created_at: Mapped[datetime] = created()
    __table_args__ = (Index("dead_verdicts_by_time", "created_at"),)
