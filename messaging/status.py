"""The states of deliveries and messages, and every permitted move between them.

`store/ledger*.py` are the only writers of a delivery's status and refuse what is not listed here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class DeliveryStatus(StrEnum):
    """Where one delivery stands."""

    QUEUED = "queued"
    SENDING = "sending"
    RETRYING = "retrying"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    FAILED = "failed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    SUPPRESSED = "suppressed"

    @property
    def code(self) -> int:
        """The number stored in the ledger."""
        return _CODES[self]

    @property
    def is_settled(self) -> bool:
        """True when nothing more will be sent for this delivery."""
        return self not in OPEN

    @classmethod
    def of(cls, code: int) -> DeliveryStatus:
        """The status stored as `code`."""
        return _BY_CODE[code]


_CODES: Mapping[DeliveryStatus, int] = {status: number for number, status in enumerate(DeliveryStatus)}
_BY_CODE: Mapping[int, DeliveryStatus] = {number: status for status, number in _CODES.items()}

OPEN = frozenset({DeliveryStatus.QUEUED, DeliveryStatus.SENDING, DeliveryStatus.RETRYING})
SETTLED = frozenset(DeliveryStatus) - OPEN

_S = DeliveryStatus
MOVES: Mapping[DeliveryStatus, frozenset[DeliveryStatus]] = {
    _S.QUEUED: frozenset({_S.SENDING, _S.FAILED, _S.EXPIRED, _S.CANCELLED, _S.SUPPRESSED}),
    # delivered: a receipt that overtook our own record of the sending
    _S.SENDING: frozenset({_S.ACCEPTED, _S.DELIVERED, _S.FAILED, _S.UNKNOWN, _S.RETRYING, _S.EXPIRED, _S.SUPPRESSED}),
    # accepted, delivered: a receipt of an attempt whose outcome was unknown; it is not sent again
    _S.RETRYING: frozenset(
        {_S.SENDING, _S.ACCEPTED, _S.DELIVERED, _S.FAILED, _S.UNKNOWN, _S.EXPIRED, _S.CANCELLED, _S.SUPPRESSED}
    ),
    # a receipt: arrived, or bounced after the provider had taken it
    _S.ACCEPTED: frozenset({_S.DELIVERED, _S.FAILED}),
    _S.DELIVERED: frozenset(),
    # a receipt or late evidence settles what we could not know; retrying: replayed from quarantine
    _S.UNKNOWN: frozenset({_S.RETRYING, _S.ACCEPTED, _S.DELIVERED, _S.FAILED, _S.EXPIRED, _S.CANCELLED, _S.SUPPRESSED}),
    # "retry failed", and the guard that takes back verdicts of a misconfigured provider
    _S.FAILED: frozenset({_S.RETRYING}),
    _S.EXPIRED: frozenset(),
    _S.CANCELLED: frozenset(),
    _S.SUPPRESSED: frozenset(),
}


class MessageState(StrEnum):
    """Where a message stands."""

    DRAFT = "draft"
    SCHEDULED = "scheduled"
    PROCESSING = "processing"
    PAUSED = "paused"
    SENT = "sent"
    PARTIALLY_SENT = "partially_sent"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def code(self) -> int:
        """The number stored with the message."""
        return _MESSAGE_CODES[self]

    @property
    def is_finished(self) -> bool:
        """True when the message will not change any more, receipts apart."""
        return self in FINISHED

    @classmethod
    def of(cls, code: int) -> MessageState:
        """The state stored as `code`."""
        return _MESSAGE_BY_CODE[code]


_MESSAGE_CODES: Mapping[MessageState, int] = {state: number for number, state in enumerate(MessageState)}
_MESSAGE_BY_CODE: Mapping[int, MessageState] = {number: state for state, number in _MESSAGE_CODES.items()}

FINISHED = frozenset({MessageState.SENT, MessageState.PARTIALLY_SENT, MessageState.FAILED, MessageState.CANCELLED})

WIRE_STATUS: Mapping[MessageState, str] = {
    MessageState.DRAFT: "draft",
    MessageState.SCHEDULED: "scheduled",
    MessageState.PROCESSING: "processing",
    MessageState.PAUSED: "processing",
    MessageState.SENT: "sent",
    MessageState.PARTIALLY_SENT: "sent",
    MessageState.FAILED: "failed",
    MessageState.CANCELLED: "failed",
}
"""The five words that Appwrite's SDKs accept in `status`."""


def finished_state(totals: Mapping[DeliveryStatus, int]) -> MessageState:
    """The state a message ends in, given how many of its deliveries ended where.

    Sent if every delivery was or may have been accepted, failed if certainly none was,
    cancelled if nothing was sent because of a cancel, partially sent otherwise.
    """
    total = sum(totals.values())
    taken = sum(totals.get(s, 0) for s in (_S.ACCEPTED, _S.DELIVERED, _S.UNKNOWN))
    if total and taken == total:
        return MessageState.SENT
    if taken:
        return MessageState.PARTIALLY_SENT
    if total and totals.get(_S.CANCELLED, 0) == total:
        return MessageState.CANCELLED
    return MessageState.FAILED
