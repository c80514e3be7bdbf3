"""What a provider tells later about a delivery: the words for it, and the request that brought it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from messaging.outcome import Action

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class Event(StrEnum):
    """What happened; one vocabulary for all providers."""

    ACCEPTED = "accepted"
    """The provider has the message: settles a delivery whose outcome was unknown."""
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    """Not yet: the provider goes on trying."""
    BOUNCED_HARD = "bounced_hard"
    """Never: the address is dead."""
    BOUNCED_SOFT = "bounced_soft"
    """The provider gave up; the address may be good."""
    REJECTED = "rejected"
    """The provider or the carrier refused the content, or the account may not send it."""
    COMPLAINED = "complained"
    """Reported as spam."""
    UNSUBSCRIBED = "unsubscribed"
    """Opted out: of newsletters by email, of everything by text message (STOP)."""
    RESUBSCRIBED = "resubscribed"
    OPENED = "opened"
    CLICKED = "clicked"


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """One event of one delivery."""

    event: Event
    key: str
    """The provider's own id of the event, the same when it is told again; any text."""
    tag: str | None = None
    """Our name of the delivery, as the request carried it; None where the provider does not hand it back."""
    provider_message_id: str | None = None
    """The provider's id of the message: leads to the delivery where there is no tag."""
    address: str | None = None
    """The address it is about, for what no message of ours caused (an opt-out by text message)."""
    at: datetime | None = None
    """When it happened, by the provider's clock; aware."""
    action: Action = Action.NONE
    """What follows for the target or the account: disable, suppress, unsuppress, stop, quota, or nothing."""
    code: str = ""
    """The provider's own code; empty for good news."""
    reason: str = ""
    """In words; never an address or a token."""
    once: str | None = None
    """What was signed, where that is not the request itself: a second request with it and another body is forged."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inbound:
    """A request to an account's receipt address, as it came."""

    method: str
    url: str
    """The whole address the provider called, query included, as it knows it."""
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    received_at: datetime
    """Aware: what signatures with a time are held against."""


class ReceiptRefusedError(Exception):
    """The request changes nothing; the text says why, for the operator."""


class ForgedReceiptError(ReceiptRefusedError):
    """The signature is missing, wrong or out of date."""


class UnreadableReceiptError(ReceiptRefusedError):
    """It is signed or comes over the secret path, and can't be read all the same."""


class ReceiptKeyMissingError(ReceiptRefusedError):
    """The account has no key to check the signature with: kept until one is set."""
