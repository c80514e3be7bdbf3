"""The tables. Integer keys inside, text ids outside; every row belongs to a project.

`batches` and `deliveries` are partitioned by the month in which their message's fan-out began and
are dropped a month at a time. No index of `deliveries` holds a column that changes, so that every
update of a delivery stays heap-only.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_TIME = DateTime(timezone=True)


class Base(DeclarativeBase):
    """Declarative base with our column types."""

    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads it as it stands
        int: BigInteger,
        str: Text,
        bool: Boolean,
        bytes: LargeBinary,
        datetime: _TIME,
        date: Date,
        dict[str, Any]: JSONB,
        list[int]: ARRAY(BigInteger),
        list[str]: ARRAY(Text),
    }


def _id() -> Mapped[int]:
    return mapped_column(BigInteger, Identity(always=False), primary_key=True)


def _created() -> Mapped[datetime]:
    return mapped_column(_TIME, server_default=func.now())


def _project() -> Mapped[int]:
    return mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))


def _project_unchecked() -> Mapped[int]:
    """For tables filled by the hundred thousand: a foreign key costs a lookup a row, and is known to hold."""
    return mapped_column(BigInteger)


class Project(Base):
    """A tenant."""

    __tablename__ = "projects"
    id: Mapped[int] = _id()
    public_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    created_at: Mapped[datetime] = _created()


class ApiKey(Base):
    """An API key, stored as the SHA-256 of a random secret."""

    __tablename__ = "api_keys"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
    public_id: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    secret_sha256: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]] = mapped_column(server_default="{}")
    expires_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _created()


class User(Base):
    """A person of the project."""

    __tablename__ = "users"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project_unchecked()
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
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (
        UniqueConstraint("project_id", "public_id"),
        # those who can sign in; an import of people without passwords does not pay for it
        Index("users_sign_in", "project_id", text("lower(email)"), postgresql_where=text("password_hash IS NOT NULL")),
        Index("users_anonymous", "id", postgresql_where=text("anonymous")),
    )


class Session(Base):
    """A user who signed in. The secret is random; its SHA-256 is kept."""

    __tablename__ = "sessions"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    public_id: Mapped[str]
    secret_sha256: Mapped[bytes] = mapped_column(unique=True)
    provider: Mapped[str]
    """How the user signed in: `email`, `anonymous` or `server`."""
    provider_uid: Mapped[str] = mapped_column(server_default="")
    ip: Mapped[str] = mapped_column(server_default="")
    user_agent: Mapped[str] = mapped_column(server_default="")
    expires_at: Mapped[datetime]
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (UniqueConstraint("project_id", "public_id"), Index("sessions_of_user", "user_id"))


class Provider(Base):
    """A configured account at a provider."""

    __tablename__ = "providers"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
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
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (UniqueConstraint("project_id", "public_id"),)


class ProviderLog(Base):
    """What happened to an account: stopped, working again, checked."""

    __tablename__ = "provider_log"
    id: Mapped[int] = _id()
    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"))
    what: Mapped[str]
    reason: Mapped[str] = mapped_column(server_default="")
    created_at: Mapped[datetime] = _created()
    __table_args__ = (Index("provider_log_of_provider", "provider_id", "id"),)


class ProviderCheck(Base):
    """A test of an account: its credentials, and perhaps one real message, step by step."""

    __tablename__ = "provider_checks"
    id: Mapped[int] = _id()
    provider_id: Mapped[int] = mapped_column(ForeignKey("providers.id", ondelete="CASCADE"))
    public_id: Mapped[str] = mapped_column(unique=True)
    address: Mapped[str | None]
    message_public_id: Mapped[str | None]
    steps: Mapped[list[Any]] = mapped_column(JSONB, server_default="[]")
    outcome: Mapped[str | None]
    """`passed` or `failed`: how the worker's part went, None until then. What becomes of a message is read from it."""
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (
        Index("provider_checks_waiting", "id", postgresql_where=text("outcome IS NULL")),
        Index("provider_checks_of_provider", "provider_id", "id"),
    )


class Target(Base):
    """One address of one user (or of nobody) on one channel."""

    __tablename__ = "targets"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project_unchecked()
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
    registered_at: Mapped[datetime] = _created()
    """When the address was last registered; a provider's older verdict does not retire it."""
    dead_at: Mapped[datetime | None]
    """A provider called it dead; skipped from then on, expired by the sweep a little later."""
    dead_provider_id: Mapped[int | None]
    expired_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
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
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
    public_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    subscribe: Mapped[list[str]] = mapped_column(server_default="{users}")
    qos: Mapped[int | None] = mapped_column(SmallInteger)
    expiry_s: Mapped[int | None] = mapped_column(Integer)
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (UniqueConstraint("project_id", "public_id"),)


class Subscriber(Base):
    """A target's membership of a topic. `id` is the number a fan-out's mark is compared with.

    No foreign key to the topic, which an import of a million rows would check a million times: who inserts holds
    the topic (`topics.hold`), who deletes a topic deletes its subscribers.
    """

    __tablename__ = "subscribers"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project_unchecked()
    topic_id: Mapped[int]
    target_id: Mapped[int] = mapped_column(ForeignKey("targets.id", ondelete="CASCADE"))
    channel: Mapped[str]
    public_id: Mapped[str]
    created_at: Mapped[datetime] = _created()
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
    created_at: Mapped[datetime] = _created()
    __table_args__ = (Index("suppressions_by_age", "project_id", "created_at", "address_hash"),)


class Bucket(Base):
    """A named place for files, with its limits."""

    __tablename__ = "buckets"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
    public_id: Mapped[str]
    name: Mapped[str]
    description: Mapped[str] = mapped_column(server_default="")
    permissions: Mapped[list[str]] = mapped_column(server_default="{}")
    file_security: Mapped[bool] = mapped_column(server_default="false")
    enabled: Mapped[bool] = mapped_column(server_default="true")
    maximum_file_size: Mapped[int]
    allowed_file_extensions: Mapped[list[str]] = mapped_column(server_default="{}")
    """Lower case, without the dot; none: every extension."""
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (UniqueConstraint("project_id", "public_id"),)


class File(Base):
    """A stored file; its bytes are in `file_chunks`. Attachments sent along with a message are in no bucket."""

    __tablename__ = "files"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
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
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
    __table_args__ = (Index("files_one_id", "project_id", text("coalesce(bucket_id, 0)"), "public_id", unique=True),)


class FileChunk(Base):
    """A piece of a file, 256 KiB at most, numbered from 0."""

    __tablename__ = "file_chunks"
    file_id: Mapped[int] = mapped_column(ForeignKey("files.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    data: Mapped[bytes]


class Message(Base):
    """What is sent, once created.

    The road never updates this row per batch; totals are folded in by the sweep.
    """

    __tablename__ = "messages"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
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
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
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
    created_at: Mapped[datetime] = _created()
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
    created_at: Mapped[datetime] = _created()
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
    created_at: Mapped[datetime] = _created()


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
    due_at: Mapped[datetime] = _created()
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
    created_at: Mapped[datetime] = _created()
    updated_at: Mapped[datetime] = _created()
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
    updated_at: Mapped[datetime] = _created()
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


class ReceivedReceipt(Base):
    """A request to an account's receipt address, as it came."""

    __tablename__ = "receipts"
    id: Mapped[int] = _id()
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
    due_at: Mapped[datetime] = _created()
    received_at: Mapped[datetime] = _created()
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
    created_at: Mapped[datetime] = _created()


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
    created_at: Mapped[datetime] = _created()
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
    first_at: Mapped[datetime] = _created()
    at: Mapped[datetime] = _created()
    code: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str | None]
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


class Evidence(Base):
    """An answer that came after its worker's lease had run out; it may settle an unknown and nothing else."""

    __tablename__ = "evidence"
    id: Mapped[int] = _id()
    month: Mapped[date]
    message_id: Mapped[int]
    target_id: Mapped[int]
    claim: Mapped[int] = mapped_column(Integer)
    status: Mapped[int] = mapped_column(SmallInteger)
    error_code: Mapped[str | None]
    provider_message_id: Mapped[str | None]
    created_at: Mapped[datetime] = _created()


class ProviderToken(Base):
    """A token shared by all workers (APNs provider token, OAuth access token), encrypted."""

    __tablename__ = "provider_tokens"
    key: Mapped[str] = mapped_column(primary_key=True)
    token: Mapped[bytes]
    minted_at: Mapped[datetime] = _created()
    expires_at: Mapped[datetime]
    keep_until: Mapped[datetime]
    """Not replaced before this, even when it was refused."""


class DeadVerdict(Base):
    """A provider called a target dead; weighed against the guard before the target is expired."""

    __tablename__ = "dead_verdicts"
    id: Mapped[int] = _id()
    target_id: Mapped[int]
    provider_id: Mapped[int]
    month: Mapped[date]
    message_id: Mapped[int]
    batch_id: Mapped[int | None]
    """None: told by a receipt, after the message was sent. It is not sent again."""
    created_at: Mapped[datetime] = _created()
    __table_args__ = (Index("dead_verdicts_by_time", "created_at"),)


class Refusal(Base):
    """Something we declined to do for a producer, counted by reason: a task that can't even be named."""

    __tablename__ = "refusals"
    id: Mapped[int] = _id()
    task_id: Mapped[str]
    task_name: Mapped[str]
    reason: Mapped[str]
    created_at: Mapped[datetime] = _created()


class Start(Base):
    """Work that was begun by somebody who may not have lived to end it; gone when it ends, however it ends."""

    __tablename__ = "starts"
    key: Mapped[str] = mapped_column(primary_key=True)
    times: Mapped[int] = mapped_column(SmallInteger, server_default="1")
    """How often it was begun since it last ended."""
    started_at: Mapped[datetime] = _created()


class Quarantined(Base):
    """What ended one worker after the other, put aside until somebody replays it."""

    __tablename__ = "quarantine"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
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
    created_at: Mapped[datetime] = _created()
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
    created_at: Mapped[datetime] = _created()


class Erasure(Base):
    """What is left to erase of a person who was deleted."""

    __tablename__ = "erasures"
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
    target_ids: Mapped[list[int]]
    traces: Mapped[bytes]
    """The addresses to look for: JSON, encrypted."""
    passes: Mapped[int] = mapped_column(Integer, server_default="0")
    due_at: Mapped[datetime] = _created()
    created_at: Mapped[datetime] = _created()
    __table_args__ = (Index("erasures_due", "due_at"),)


class Operator(Base):
    """A person who may sign in to the console."""

    __tablename__ = "operators"
    id: Mapped[int] = _id()
    public_id: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str]
    name: Mapped[str] = mapped_column(server_default="")
    role: Mapped[str]
    """`admin`, `operator` or `viewer`."""
    password_hash: Mapped[str]
    enabled: Mapped[bool] = mapped_column(server_default="true")
    seen_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = _created()
    __table_args__ = (Index("operators_by_email", func.lower(text("email")), unique=True),)


class OperatorSession(Base):
    """A browser in which an operator is signed in; the secret's SHA-256 is kept."""

    __tablename__ = "operator_sessions"
    secret_sha256: Mapped[bytes] = mapped_column(primary_key=True)
    operator_id: Mapped[int] = mapped_column(ForeignKey("operators.id", ondelete="CASCADE"))
    notice: Mapped[str | None]
    """What the next page says first."""
    expires_at: Mapped[datetime]
    seen_at: Mapped[datetime] = _created()
    created_at: Mapped[datetime] = _created()


class AuditEntry(Base):
    """Something an operator did. Kept when its project, its subject or the operator is gone."""

    __tablename__ = "audit_log"
    id: Mapped[int] = _id()
    at: Mapped[datetime] = _created()
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
    id: Mapped[int] = _id()
    project_id: Mapped[int] = _project()
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
    seen_at: Mapped[datetime] = _created()
    """When whoever works on it last said so."""
    created_at: Mapped[datetime] = _created()
    __table_args__ = (Index("console_imports_of_project", "project_id", "id"),)
