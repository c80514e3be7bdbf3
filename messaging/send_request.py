"""What a caller asks to be sent, to whom and when."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from messaging.channel import Lane, OnUnknown
from messaging.errors import InvalidArgumentError
from messaging.message import Content


@dataclass(frozen=True, kw_only=True)
class SendRequest:
    """What a caller asks for. Ids are public ones; times are aware."""

    content: Content
    users: Sequence[str] = ()
    targets: Sequence[str] = ()
    topics: Sequence[str] = ()
    addresses: Sequence[str] = ()
    """Raw addresses of the channel; each becomes a target without a user."""
    cc: Sequence[str] = ()
    """Email targets, or addresses, that receive a copy and are shown."""
    bcc: Sequence[str] = ()
    """The same, not shown."""
    scheduled_at: datetime | None = None
    expires_at: datetime | None = None
    on_unknown: OnUnknown | None = None
    """None: the channel's default."""
    lane: Lane | None = None
    """None: it follows from the size of the audience."""
    id: str | None = None
    idempotency_key: str | None = None
    image: str | None = None
    """`bucket:file` that the image of a push came from, kept for whoever looks at the message."""
    draft: bool = False
    allow_past_schedule: bool = False
    """A time that has passed means now (a Celery `eta` that was late), not an error."""
    fixed_provider: int | None = field(default=None, repr=False)
    """Number of the one provider that may carry it, for a test of an account. Nothing a caller says, so no part of
    the body's hash."""
    traceparent: str | None = field(default=None, repr=False)
    """The span it is asked for in, as W3C Trace Context writes it. No part of the body's hash either."""


def body_hash(request: SendRequest) -> bytes:
    """SHA-256 of what the request says, its id and key apart: the same body is the same message."""
    said = replace(
        request,
        id=None,
        idempotency_key=None,
        scheduled_at=_in_utc(request.scheduled_at),
        expires_at=_in_utc(request.expires_at),
    )
    return hashlib.sha256(repr(said).encode("utf-8", "backslashreplace")).digest()


def schedule(request: SendRequest, now: datetime) -> datetime | None:
    """When it is to be sent, in UTC, None for now; raises `InvalidArgumentError` for times that make no sense.

    Where clocks are changed a time that occurs twice is the first, unless its `fold` says the second; one that is
    skipped is as late as if the clock had not been changed yet (https://peps.python.org/pep-0495/).
    """
    for argument, time in (("scheduled_at", request.scheduled_at), ("expires_at", request.expires_at)):
        if time is not None and time.utcoffset() is None:
            raise InvalidArgumentError(argument, "the time has no zone; write 2026-11-23T09:00:00+00:00")
    # two times of one zone compare as the clocks on the wall show them, which is wrong in the hour that occurs twice
    at, expires_at = _in_utc(request.scheduled_at), _in_utc(request.expires_at)
    if expires_at is not None and expires_at <= (at or now):
        raise InvalidArgumentError("expires_at", "lies before the message would be sent")
    if at is not None and at <= now:
        if not request.allow_past_schedule:
            raise InvalidArgumentError("scheduled_at", f"{at.isoformat()} has passed; choose a time in the future")
        return None
    return at


def _in_utc(time: datetime | None) -> datetime | None:
    return time if time is None or time.utcoffset() is None else time.astimezone(UTC)


def named_audience(request: SendRequest) -> dict[str, Any]:
    """The audience as the caller named it, as kept with the message; and what else a draft needs to know when it goes.

    Of expiry and lane the message holds what follows from its time and size as well: here only what was chosen.
    """
    named = {
        "users": list(request.users),
        "targets": list(request.targets),
        "topics": list(request.topics),
        "addresses": list(request.addresses),
        "cc": list(request.cc),
        "bcc": list(request.bcc),
    }
    kept: dict[str, Any] = {key: ids for key, ids in named.items() if ids}
    if request.image is not None:
        kept["image"] = request.image
    if request.expires_at is not None:
        kept["expires_at"] = request.expires_at.isoformat()
    if request.lane is not None:
        kept["lane"] = str(request.lane)
    return kept
