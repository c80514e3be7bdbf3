"""What every table has: our column types, ids, times, the project."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import BigInteger, Boolean, Date, DateTime, ForeignKey, Identity, LargeBinary, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

TIME = DateTime(timezone=True)


class Base(DeclarativeBase):
    """Declarative base with our column types."""

    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads it as it stands
        int: BigInteger,
        str: Text,
        bool: Boolean,
        bytes: LargeBinary,
        datetime: TIME,
        date: Date,
        dict[str, Any]: JSONB,
        list[int]: ARRAY(BigInteger),
        list[str]: ARRAY(Text),
    }


def identity() -> Mapped[int]:
    """A number the database gives."""
    return mapped_column(BigInteger, Identity(always=False), primary_key=True)


def created() -> Mapped[datetime]:
    """When the row was made, by the database's clock."""
    return mapped_column(TIME, server_default=func.now())


def project() -> Mapped[int]:
    """Whose the row is; it goes with its project."""
    return mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))


def project_unchecked() -> Mapped[int]:
    """For tables filled by the hundred thousand: a foreign key costs a lookup a row, and is known to hold."""
    return mapped_column(BigInteger)
