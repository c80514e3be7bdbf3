"""Buckets and files."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from messaging.store.tables.base import Base, created, identity, project


class Bucket(Base):
    """A named place for files, with its limits."""

    __tablename__ = "buckets"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    public_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    permissions: Mapped[list[str]] = mapped_column(server_default="{}")
    file_security: Mapped[bool] = mapped_column(server_default="false")
    enabled: Mapped[bool] = mapped_column(server_default="true")
    maximum_file_size: Mapped[int]
    allowed_file_extensions: Mapped[list[str]] = mapped_column(server_default="{}")
    """Lower case, without the dot; none: every extension."""
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    __table_args__ = (UniqueConstraint("project_id", "public_id"),)


class File(Base):
    """A stored file; its bytes are in `file_chunks`. Attachments sent along with a message are in no bucket."""

    __tablename__ = "files"
    id: Mapped[int] = identity()
    project_id: Mapped[int] = project()
    bucket_id: Mapped[int | None] = mapped_column(ForeignKey("buckets.id", ondelete="CASCADE"))
    public_id: Mapped[str]
    name: Mapped[str]
    content_type: Mapped[str]
    size_bytes: Mapped[int]
    sha256: Mapped[bytes]
    md5: Mapped[bytes | None]
    permissions: Mapped[list[str]] = mapped_column(server_default="{}")
    chunks_total: Mapped[int] = mapped_column(Integer, server_default="1")
    """Pieces its uploader sends; the file is there when all have come."""
    chunks_uploaded: Mapped[int] = mapped_column(Integer, server_default="1")
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    __table_args__ = (Index("files_one_id", "project_id", text("coalesce(bucket_id, 0)"), "public_id", unique=True),)


class FileChunk(Base):
    """A piece of a file, 256 KiB at most, numbered from 0."""

    __tablename__ = "file_chunks"
    file_id: Mapped[int] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    data: Mapped[bytes]
