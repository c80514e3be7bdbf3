"""What providers tell later."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from messaging.store.tables.base import Base, created, identity


class ReceivedReceipt(Base):
    """A request to an account's receipt address, as it came."""

    __tablename__ = "receipts"
    id: Mapped[int] = identity()
    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"))
    method: Mapped[str]
    url: Mapped[str]
    headers: Mapped[dict[str, Any]]
    body: Mapped[bytes]
    state: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """0 waiting, 1 applied, 2 refused, 3 held until a key is set."""
    reason: Mapped[str | None]
    events: Mapped[int] = mapped_column(Integer, server_default="0")
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    due_at: Mapped[datetime] = created()
    received_at: Mapped[datetime] = created()
    applied_at: Mapped[datetime | None]
    __table_args__ = (
        Index("receipts_waiting", "id", postgresql_where=text("state = 0")),
        Index("receipts_put_aside", "provider_id", "id", postgresql_where=text("state IN (2, 3)")),
        Index("receipts_by_age", "received_at"),
    )


class ReceiptToken(Base):
    """A signed token that came with a receipt whose body is not signed, and the body it came with."""

    __tablename__ = "receipt_tokens"
    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"), primary_key=True)
    token: Mapped[str] = mapped_column(primary_key=True)
    body_sha256: Mapped[bytes]
    created_at: Mapped[datetime] = created()


class DeliveryEvent(Base):
    """What a provider told about a delivery, once."""

    __tablename__ = "delivery_events"
    month: Mapped[date] = mapped_column(primary_key=True)
    message_id: Mapped[int] = mapped_column(primary_key=True)
    target_id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[bytes] = mapped_column(primary_key=True)
    """Hash of provider, event and the provider's own id of it: the same however often it is told."""
    provider_id: Mapped[int]
    event: Mapped[str]
    at: Mapped[datetime | None]
    code: Mapped[str | None]
    reason: Mapped[str | None]
    created_at: Mapped[datetime] = created()
    __table_args__ = ({"postgresql_partition_by": "RANGE (month)"},)


class ProviderMessageId(Base):
    """Which delivery a provider's own id stands for, where its receipts name nothing else."""

    __tablename__ = "provider_message_ids"
    month: Mapped[date] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(primary_key=True)
    provider_message_id: Mapped[str] = mapped_column(primary_key=True)
    message_id: Mapped[int]
    target_id: Mapped[int]
    __table_args__ = ({"postgresql_partition_by": "RANGE (month)"},)
