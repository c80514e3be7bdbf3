"""The ledger: batches, a row per message and recipient, and what it no longer says of attempts."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Index, Integer, SmallInteger, text
from sqlalchemy.orm import Mapped, mapped_column

from messaging.store.tables.base import Base, created, identity


class Batch(Base):
    """A range of deliveries of one message through one provider: the unit that is leased and retried."""

    __tablename__ = "batches"
    month: Mapped[date] = mapped_column(primary_key=True)
    id: Mapped[int] = mapped_column(primary_key=True, server_default=text("nextval('batch_ids')"))
    message_id: Mapped[int]
    provider_id: Mapped[int | None]
    channel: Mapped[str]
    lane: Mapped[str]
    state: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """0 waiting, 1 leased, 2 done."""
    claim: Mapped[int] = mapped_column(Integer, server_default="0")
    """Number of the current lease; a worker with an older number can't write."""
    lease_until: Mapped[datetime | None]
    due_at: Mapped[datetime] = created()
    hinted_at: Mapped[datetime | None]
    hints: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    deaths: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Leases in a row that ran out without an end: a batch that kills workers is sent one by one, see quarantine."""
    suspect_target: Mapped[int | None]
    """Who was alone in flight when a worker died of it last."""
    first_target: Mapped[int]
    last_target: Mapped[int]
    total: Mapped[int] = mapped_column(Integer)
    accepted: Mapped[int] = mapped_column(Integer, server_default="0")
    delivered: Mapped[int] = mapped_column(Integer, server_default="0")
    failed: Mapped[int] = mapped_column(Integer, server_default="0")
    unknown: Mapped[int] = mapped_column(Integer, server_default="0")
    expired: Mapped[int] = mapped_column(Integer, server_default="0")
    cancelled: Mapped[int] = mapped_column(Integer, server_default="0")
    suppressed: Mapped[int] = mapped_column(Integer, server_default="0")
    doubtful: Mapped[int] = mapped_column(Integer, server_default="0")
    """Deliveries sent again after an unknown outcome: the upper bound of duplicates."""
    moves: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """How often its deliveries changed their provider."""
    waiting_for: Mapped[str | None]
    """Why the batch waits, in words."""
    created_at: Mapped[datetime] = created()
    updated_at: Mapped[datetime] = created()
    __table_args__ = (
        Index("batches_due", "due_at", postgresql_where=text("state = 0")),
        Index("batches_leased", "lease_until", postgresql_where=text("state = 1")),
        Index("batches_of_message", "message_id"),
        {"postgresql_partition_by": "RANGE (month)"},
    )


class Delivery(Base):
    """One message to one target: a row of the ledger."""

    __tablename__ = "deliveries"
    month: Mapped[date] = mapped_column(primary_key=True)
    message_id: Mapped[int] = mapped_column(primary_key=True)
    target_id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[int]
    due_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = created()
    accepted_at: Mapped[datetime | None]
    claim: Mapped[int] = mapped_column(Integer, server_default="0")
    status: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    attempts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    doubts: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """Attempts whose outcome is unknown: how often it may have been sent besides."""
    role: Mapped[int] = mapped_column(SmallInteger, server_default="0")
    """0 to, 1 cc, 2 bcc."""
    provider_message_id: Mapped[str | None]
    """None where the provider's id is the delivery's own uuid."""
    error_code: Mapped[str | None]
    error: Mapped[str | None]
    __table_args__ = ({"postgresql_partition_by": "RANGE (month)"},)


class PastAttempt(Base):
    """What came of an attempt that another one followed."""

    __tablename__ = "past_attempts"
    month: Mapped[date] = mapped_column(primary_key=True)
    message_id: Mapped[int] = mapped_column(primary_key=True)
    target_id: Mapped[int] = mapped_column(primary_key=True)
    provider_id: Mapped[int] = mapped_column(primary_key=True)
    attempt: Mapped[int] = mapped_column(SmallInteger, primary_key=True)
    times: Mapped[int] = mapped_column(Integer, server_default="1")
    first_at: Mapped[datetime] = created()
    at: Mapped[datetime] = created()
    code: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str | None]
    __table_args__ = ({"postgresql_partition_by": "RANGE (month)"},)


class Evidence(Base):
    """An answer that came after its worker's lease had run out; it may settle an unknown and nothing else."""

    __tablename__ = "evidence"
    id: Mapped[int] = identity()
    month: Mapped[date]
    message_id: Mapped[int]
    target_id: Mapped[int]
    claim: Mapped[int] = mapped_column(Integer)
    status: Mapped[int] = mapped_column(SmallInteger)
    error_code: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    created_at: Mapped[datetime] = created()
