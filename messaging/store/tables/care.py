"""What keeps an installation whole: work that ended workers, keys, erasure."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Index, Integer, SmallInteger
from sqlalchemy.orm import Mapped, mapped_column

from messaging.store.tables.base import Base, created, identity, project


class Start(Base):
    """Work that was begun by somebody who may not have lived to end it; gone when it ends, however it ends."""

    __tablename__ = "starts"
    key: Mapped[str] = mapped_column(primary_key=True)
    times: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    """How often it was begun since it last ended."""
    started_at: Mapped[datetime] = created()


class Quarantined(Base):
    """What ended one worker after the other, put aside until somebody replays it."""

    __tablename__ = "quarantine"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    kind: Mapped[str]
    """`delivery`, `batch`, `fan_out` or `task`."""
    reason: Mapped[str]
    month: Mapped[date | None]
    message_id: Mapped[int | None]
    batch_id: Mapped[int | None]
    target_id: Mapped[int | None]
    deliveries: Mapped[int] = mapped_column(Integer, server_default="0")
    task_id: Mapped[str | None]
    task_name: Mapped[str | None]
    sealed: Mapped[bytes | None]
    """A task as it came, encrypted: nobody has found out whom it names."""
    replayed_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()
    __table_args__ = (
        Index("quarantine_of_project", "project_id", "id"),
        Index("quarantine_of_message", "message_id"),
    )


class VaultKey(Base):
    """A key of the ring, sealed by a master key. Without rows the master key is the ring (`messaging.vault`)."""

    __tablename__ = "vault_keys"
    what: Mapped[str] = mapped_column(primary_key=True)
    """`secret` (all keys of a generation are derived from it) or `lasting` (the keys that no rotation changes)."""
    generation: Mapped[int] = mapped_column(Integer, primary_key=True)
    master: Mapped[str] = mapped_column(primary_key=True)
    """Name of the master key: while two are in use, each key is there under both."""
    sealed: Mapped[bytes]
    retiring: Mapped[bool] = mapped_column(server_default="false")
    """Under the master key that the rotation under way takes out of use."""
    created_at: Mapped[datetime] = created()


class Erasure(Base):
    """What is left to erase of a person who was deleted."""

    __tablename__ = "erasures"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    target_ids: Mapped[list[int]]
    traces: Mapped[bytes]
    """The addresses to look for: JSON, encrypted."""
    passes: Mapped[int] = mapped_column(Integer, server_default="0")
    due_at: Mapped[datetime] = created()
    created_at: Mapped[datetime] = created()
    __table_args__ = (Index("erasures_due", "due_at"),)
