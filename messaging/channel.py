"""The channels a message can take, and the lanes and roles that go with them."""

from __future__ import annotations

from enum import StrEnum


class Channel(StrEnum):
    """How a person is reached."""

    PUSH = "push"
    EMAIL = "email"
    SMS = "sms"


class Lane(StrEnum):
    """Which queues a message takes: ``high`` never waits behind ``bulk``."""

    HIGH = "high"
    BULK = "bulk"


class Role(StrEnum):
    """Why a target receives the message; ``cc`` and ``bcc`` exist for email only."""

    TO = "to"
    CC = "cc"
    BCC = "bcc"


class OnUnknown(StrEnum):
    """What to do when a request left and no readable answer came back."""

    RETRY = "retry"
    HOLD = "hold"


def default_on_unknown(channel: Channel) -> OnUnknown:
    """The policy for a channel: an SMS is never sent twice on a guess."""
    return OnUnknown.HOLD if channel is Channel.SMS else OnUnknown.RETRY
