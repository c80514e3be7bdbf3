"""What is sent: the content of a message per channel. Values only; validation is in `content.py`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from messaging.channel import Channel

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Attachment:
    """One file sent along with an email."""

    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Push:
    """A push notification. At least one of title, body or data is given."""

    title: str | None = None
    body: str | None = None
    data: Mapping[str, str] = field(default_factory=dict)
    action: str | None = None
    image: str | None = None
    """Address of the image, https."""
    icon: str | None = None
    sound: str | None = None
    color: str | None = None
    tag: str | None = None
    badge: int | None = None
    """Number on the app icon; 0 clears it, None leaves it."""
    content_available: bool = False
    critical: bool = False
    priority: Literal["normal", "high"] = "high"
    channel_id: str | None = None
    """Android notification channel."""
    collapse_id: str | None = None
    """A newer message with the same id replaces the older one on the device (64 bytes at most)."""
    push_type: str | None = None
    """apns-push-type; None lets the adapter derive it (`alert` or `background`)."""

    @property
    def channel(self) -> Channel:
        """Always push."""
        return Channel.PUSH


@dataclass(frozen=True, kw_only=True)
class Email:
    """An email. `html` says what `content` is (None: whether it has markup decides)."""

    subject: str
    content: str
    html: bool | None = None
    text: str | None = None
    """Plain-text part beside an HTML content; derived from the markup when None."""
    attachments: tuple[Attachment, ...] = ()
    reply_to_email: str | None = None
    reply_to_name: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Extra headers, e.g. List-Unsubscribe. No CR or LF in names or values."""

    @property
    def channel(self) -> Channel:
        """Always email."""
        return Channel.EMAIL


@dataclass(frozen=True, kw_only=True)
class Sms:
    """A text message."""

    content: str

    @property
    def channel(self) -> Channel:
        """Always sms."""
        return Channel.SMS


Content = Push | Email | Sms
