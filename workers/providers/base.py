"""What the road needs of a provider, stated next to the road.

A provider is one module `workers/providers/<kind>.py` with a function
``open_adapter(account, context) -> Adapter``. An adapter is opened once per worker process and
provider account and lives until the account changes.

A provider that reports what became of its messages has a second function, a `ReceiptReader`:
``async read_receipts(inbound, account, fetch) -> Sequence[Receipt]``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from messaging.channel import Role
from workers.providers.destinations import Destinations

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from messaging.message import Content
    from messaging.outcome import Outcome
    from messaging.receipt import Inbound, Receipt


@dataclass(slots=True)
class Recipient:
    """One delivery as an adapter sees it. Not frozen: that would cost each of ten thousand a second a microsecond."""

    target_id: int
    address: str
    """Device token, email address or E.164 number."""
    tag: str
    """Our own name of the delivery (URL-safe, under 60 characters); stable over retries."""
    uuid: str
    """The same as a UUID in its text form, for apns-id and the like; stable over retries."""
    role: Role = Role.TO
    name: str | None = None
    attempt: int = 1
    unsubscribe_url: str | None = None
    """Where this reader ends bulk mail with one click (RFC 8058); None for what is no bulk mail."""


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """The part of a message that all its recipients share."""

    message_id: str
    """Public id of the message."""
    content: Content
    expires_at: datetime
    """Aware, UTC: after this the provider should drop it."""
    visible_to: tuple[str, ...] = ()
    """Addresses a cc or bcc copy shows in To; empty when there are too many to show."""
    visible_cc: tuple[str, ...] = ()
    """Addresses every copy shows in Cc."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A configured provider, its credentials in clear. Never logged."""

    provider_id: int
    public_id: str
    kind: str
    credentials: Mapping[str, object] = field(repr=False)
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Minted:
    """A token and how long it may be used, in seconds from now."""

    token: str
    lifetime_s: float
    min_age_s: float = 0.0
    """It is not replaced before this age even when refused (APNs: 20 minutes)."""


class TokenStore(Protocol):
    """Tokens shared by all workers, kept encrypted: APNs provider tokens, OAuth access tokens."""

    async def get(self, key: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        """The current token under `key`, minted by exactly one worker when there is none or it ran out."""
        ...

    async def replace(self, key: str, rejected: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        """A token other than `rejected`: another worker's newer one if there is one, else a new one."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What an adapter is handed besides its account."""

    tokens: TokenStore
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Replaced base addresses by name, lower case: a kind, or kind_part such as ``fcm_token``."""
    ca_file: Path | None = None
    """Extra certificate authority to trust, for a test server."""
    destinations: Destinations = field(default_factory=Destinations)
    """Where addresses may lead that a project's key or a message names."""
    connections: int = 1
    concurrency: int = 1
    receipts_url: str | None = None
    """The account's own receipt address, to be handed to providers that take one with a message; None where this
    installation has no public address."""


class Adapter(Protocol):
    """One provider account, connected."""

    def prepare(self, outgoing: Outgoing) -> object:
        """Render once per message what all recipients share; raises `ContentError` if it can't be sent."""
        ...

    async def send(self, prepared: object, recipients: Sequence[Recipient]) -> Sequence[Outcome]:
        """Send one request (at most the kind's request size) and return one outcome per recipient, in order.

        Never raises for what a provider or network does: that is an outcome. A cancelled call
        leaves the outcome unknown.
        """
        ...

    async def check(self) -> Outcome:
        """Ask the provider, with its cheapest call and sending nothing, whether it takes the account.

        `ACCEPTED` with what it said in `reason`, else the outcome as for a message. Never raises.
        """
        ...

    async def aclose(self) -> None:
        """Let what is in flight finish, then close the connections."""
        ...


@runtime_checkable
class StartingAdapter(Protocol):
    """What an adapter may have besides, whose requests carry one recipient each: to begin one without a task for it."""

    def start(self, prepared: object, recipient: Recipient, done: Callable[[Outcome], None]) -> None:
        """As `send` to one; `done` is called once with the outcome, on the event loop, maybe before this returns."""
        ...


class Fetch(Protocol):
    """A GET of what a receipt refers to: a certificate, a confirmation."""

    async def __call__(self, url: str) -> bytes:
        """The body of a 2xx answer; raises `OSError` for anything else. The caller has checked the host."""
        ...


class ReceiptReader(Protocol):
    """Verify and read one request to the account's receipt address."""

    async def __call__(self, inbound: Inbound, account: Account, fetch: Fetch) -> Sequence[Receipt]:
        """The receipts it brings, none for what is no news.

        Raises `ForgedReceiptError`, `UnreadableReceiptError`, `ReceiptKeyMissingError`.
        """
        ...
