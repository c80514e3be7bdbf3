"""What one provider call did to one delivery."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime


class Action(StrEnum):
    """What follows from a provider's answer; one vocabulary for all providers."""

    ACCEPTED = "accepted"
    """The provider took responsibility."""
    DELIVERED = "delivered"
    """A receipt says it arrived (receipts only)."""
    NONE = "none"
    """Record only (receipts only)."""
    RETRY = "retry"
    """Not sent, transient: back off and try again; counts as an attempt."""
    RETRY_AFTER = "retry_after"
    """Throttled: pause the whole provider account; counts no attempt."""
    RECONNECT_RETRY = "reconnect_retry"
    """Certainly not processed: try again at once on a new connection; counts no attempt."""
    AMBIGUOUS_RETRY = "ambiguous_retry"
    """The outcome is unknown; the message's ``on_unknown`` decides."""
    REFRESH_AUTH_RETRY = "refresh_auth_retry"
    """The credential was refused; the adapter renews it once, then the provider stops."""
    REJECT_MESSAGE = "reject_message"
    """Never: the content is refused; the target stays good."""
    DISABLE_TARGET = "disable_target"
    """Never: the address is dead at this provider."""
    SUPPRESS_TARGET = "suppress_target"
    """Never: the recipient or carrier refuses."""
    UNSUPPRESS_TARGET = "unsuppress_target"
    """The recipient opted in again (receipts only)."""
    STOP_PROVIDER = "stop_provider"
    """Not sent, the account is misconfigured: stop it and tell the operator."""
    QUOTA = "quota"
    """Not sent, the account's quota or credit is used up: stop it and tell the operator."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One provider's answer for one recipient."""

    action: Action
    code: str = ""
    """The provider's own code, e.g. ``Unregistered`` or ``21610``; empty when accepted."""
    reason: str = ""
    """The reason in words, for the person who reads the ledger; never an address or a token."""
    provider_message_id: str | None = None
    """The provider's id of the message; None where it is our own delivery uuid or there is none."""
    retry_after_s: float | None = None
    """The provider's own delay in seconds, where it named one."""
    dead_since: datetime | None = None
    """Since when the address is dead; a target registered after that is not retired."""
    one_route: bool = False
    """With `STOP_PROVIDER`: the account can't reach that country or network, and works otherwise. It is not stopped;
    another account may reach it."""
    outage: bool = False
    """The provider as such failed (no connection, 5xx, no answer), whoever the recipient: many of them in a row
    open the account's circuit breaker."""
    throttled: bool = False
    """With `RETRY`: refused for the rate alone, of this recipient or of requests at once; counts no attempt."""


ACCEPTED = Outcome(Action.ACCEPTED)
"""Accepted, and the provider's id is our own delivery uuid (or it has none)."""
