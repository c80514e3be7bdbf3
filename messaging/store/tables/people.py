"""Users with their sessions, targets and topics; who must not be written to."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, SmallInteger, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from messaging.store.tables.base import Base, created, identity, project, project_unchecked


class User(Base):
    """A person of the project."""

    __tablename__ = "users"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project_unchecked()
    public_id: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    email: Mapped[str | None]
    phone: Mapped[str | None]
    password_hash: Mapped[str | None]
    """argon2id, in its own text form; None for a user without a password."""
    password_updated_at: Mapped[datetime | None]
    blocked: Mapped[bool] = mapped_column(server_default="false")
    anonymous: Mapped[bool] = mapped_column(server_default="false")
    """Made by an anonymous session, and not known by anything since: goes with the last session."""
    labels: Mapped[list[str]] = mapped_column(server_default="{}")
    prefs: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    email_verified: Mapped[bool] = mapped_column(server_default="false")
    phone_verified: Mapped[bool] = mapped_column(server_default="false")
    accessed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    __table_args__ = (
        UniqueConstraint("project_id", "public_id"),
        # those who can sign in; an import of people without passwords does not pay for it
        Index("users_sign_in", "project_id", text("lower(email)"), postgresql_where=text("password_hash IS NOT NULL")),
        Index("users_anonymous", "id", postgresql_where=text("anonymous")),
    )


class Session(Base):
    """A user who signed in. The secret is random; its SHA-256 is kept."""

    __tablename__ = "sessions"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    public_id: Mapped[str]
    secret_sha256: Mapped[bytes] = mapped_column(unique=True)
    provider: Mapped[str]
    """How the user signed in: `email`, `anonymous` or `server`."""
    provider_uid: Mapped[str] = mapped_column(server_default="")
    ip: Mapped[str] = mapped_column(server_default="")
    user_agent: Mapped[str] = mapped_column(server_default="")
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    __table_args__ = (UniqueConstraint("project_id", "public_id"), Index("sessions_of_user", "user_id"))


class Target(Base):
    """One address of one user (or of nobody) on one channel."""

    __tablename__ = "targets"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project_unchecked()
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    provider_id: Mapped[int | None] = mapped_column(ForeignKey("providers.id", ondelete="SET NULL"))
    session_id: Mapped[int | None] = mapped_column(ForeignKey("sessions.id", ondelete="CASCADE"))
    """The session a device registered in; the target ends with it."""
    public_id: Mapped[str]
    channel: Mapped[str]
    identifier: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    address_hash: Mapped[bytes]
    """Keyed hash of channel and identifier, for the suppression list."""
    registered_at: Mapped[datetime] = created()
    """When the address was last registered; a provider's older verdict does not retire it."""
    dead_at: Mapped[datetime | None]
    """A provider called it dead; skipped from then on, expired by the sweep a little later."""
    dead_provider_id: Mapped[int | None]
    expired_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    __table_args__ = (
        UniqueConstraint("project_id", "public_id"),
        Index(
            "targets_one_address",
            "project_id",
            "channel",
            text("coalesce(provider_id, 0)"),
            "identifier",
            unique=True,
        ),
        Index("targets_of_session", "session_id", postgresql_where=text("session_id IS NOT NULL")),
        Index("targets_of_user", "user_id", postgresql_where=text("user_id IS NOT NULL")),
        Index("targets_dead", "dead_at", postgresql_where=text("dead_at IS NOT NULL AND expired_at IS NULL")),
    )


class Topic(Base):
    """A named gathering of targets."""

    __tablename__ = "topics"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    public_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    subscribe: Mapped[list[str]] = mapped_column(server_default="{users}")
    qos: Mapped[int | None] = mapped_column(SmallInteger)
    expiry_s: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    __table_args__ = (UniqueConstraint("project_id", "public_id"),)


class Subscriber(Base):
    """A target's membership of a topic. `id` is the number a fan-out's mark is compared with.

    No foreign key to the topic, which an import of a million rows would check a million times: who inserts holds
    the topic (`topics.hold`), who deletes a topic deletes its subscribers.
    """

    __tablename__ = "subscribers"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project_unchecked()
    topic_id: Mapped[int]
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id", ondelete="CASCADE"))
    channel: Mapped[str]
    public_id: Mapped[str]
    created_at: Mapped[datetime] = created()
    __table_args__ = (
        UniqueConstraint("topic_id", "public_id"),
        Index(
            "subscribers_in_target_order",
            "topic_id",
            "channel",
            "target_id",
            unique=True,
            postgresql_include=["id"],
        ),
        Index("subscribers_of_target", "target_id"),
    )


class Suppression(Base):
    """An address that must not be written to: everything, or bulk only. The address is a keyed hash."""

    __tablename__ = "suppressions"
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"), primary_key=True)
    channel: Mapped[str] = mapped_column(primary_key=True)
    address_hash: Mapped[bytes] = mapped_column(primary_key=True)
    scope: Mapped[str]
    """`everything` or `bulk`."""
    reason: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = created()
    __table_args__ = (Index("suppressions_by_age", "project_id", "created_at", "address_hash"),)
