"""Projects, and the keys that open them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from messaging.store.tables.base import Base, created, identity, project


class Project(Base):
    """A tenant."""

    __tablename__ = "projects"
    id: Mapped[int] = identity()
    public_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = created()


class ApiKey(Base):
    """An API key, stored as the SHA-256 of a random secret."""

    __tablename__ = "api_keys"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    public_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    secret_sha256: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(server_default="{}")
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = created()
