"""Push, email and SMS: one interface to send, and an account of what became of every single recipient.

::

    from messaging import Email, Messaging

    with Messaging.from_runtime("data") as messaging:
        message = messaging.send(Email(subject="Hello", content="Hi"), addresses=["ada@example.com"])
        print(messaging.wait(message.id, timeout_s=30).totals)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from messaging.channel import Channel, Lane, OnUnknown
from messaging.errors import (
    ConflictError,
    ContentError,
    IdempotencyConflictError,
    InvalidArgumentError,
    MessagingError,
    NoEnabledProviderError,
    NotFoundError,
    SettingsError,
)
from messaging.limits import Limits
from messaging.message import Attachment, Email, Push, Sms
from messaging.status import DeliveryStatus, MessageState

if TYPE_CHECKING:
    from messaging.client.messaging import Messaging

__all__ = [
    "Attachment",
    "Channel",
    "ConflictError",
    "ContentError",
    "DeliveryStatus",
    "Email",
    "IdempotencyConflictError",
    "InvalidArgumentError",
    "Lane",
    "Limits",
    "MessageState",
    "Messaging",
    "MessagingError",
    "NoEnabledProviderError",
    "NotFoundError",
    "OnUnknown",
    "Push",
    "SettingsError",
    "Sms",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module's attribute (PEP 562)
    # `Messaging` brings SQLAlchemy and Celery: a second that `messaging --help` should not take
    if name == "Messaging":
        from messaging.client.messaging import Messaging  # noqa: PLC0415

        return Messaging
    raise AttributeError(f"module 'messaging' has no attribute '{name}'")
