"""What the tests of providers share: an adapter behind a handler, its deliveries, and how its receipts are read."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import httpx

from messaging.message import Content, Sms
from messaging.outcome import Outcome
from messaging.receipt import Inbound, Receipt
from workers.providers.base import Account, Adapter, Outgoing, ReceiptReader, Recipient

NOW = datetime(2026, 11, 23, tzinfo=UTC)
SOON = NOW + timedelta(minutes=10)
CODE = Sms(content="Code: 1234")
BASE_URL = "https://provider.test"
Handler = Callable[[httpx.Request], httpx.Response]
Row = dict[str, Any]
AnAdapter = TypeVar("AnAdapter", bound=Adapter)
T = TypeVar("T")


def client(handler: Handler, base_url: str = BASE_URL) -> httpx.AsyncClient:
    """A client whose requests `handler` answers."""
    return httpx.AsyncClient(transport=httpx.MockTransport(handler), base_url=base_url)


def acting(
    handler: Handler,
    build: Callable[[httpx.AsyncClient], AnAdapter],
    act: Callable[[AnAdapter], Awaitable[T]],
    *,
    base_url: str = BASE_URL,
) -> T:
    """What `act` comes to with the adapter that `build` makes of a client."""

    async def run() -> T:
        async with client(handler, base_url) as opened:
            return await act(build(opened))

    return asyncio.run(run())


def check(handler: Handler, build: Callable[[httpx.AsyncClient], Adapter]) -> Outcome:
    """What a check says, answered by `handler`."""
    return acting(handler, build, lambda adapter: adapter.check())


def send(
    handler: Handler,
    build: Callable[[httpx.AsyncClient], Adapter],
    *addresses: str,
    content: Content | None = None,
    expires_at: datetime = SOON,
) -> Sequence[Outcome]:
    """The outcomes of one call, answered by `handler`."""
    message = outgoing(content or CODE, expires_at)
    return acting(handler, build, lambda adapter: adapter.send(adapter.prepare(message), recipients(*addresses)))


def recipients(*addresses: str, **settings: Any) -> list[Recipient]:
    """Deliveries to these addresses, tagged t0, t1 and so on."""
    return [
        Recipient(target_id=n, address=address, tag=f"t{n}", uuid=str(UUID(int=n)), **settings)
        for n, address in enumerate(addresses)
    ]


def outgoing(content: Content, expires_at: datetime = SOON) -> Outgoing:
    """A message with this content."""
    return Outgoing(message_id="m1", content=content, expires_at=expires_at)


def rows(shared_dir: Path, provider: str, where: str | None = None) -> list[Row]:
    """The provider's rows of the table of codes; with `where`, those that are heard there."""
    document = json.loads((shared_dir / "contracts/actions/error_actions.json").read_text())
    found = [row for row in document["rows"] if row["provider"] == provider]
    return [row for row in found if where is None or row["where"] == where]


def account_of(kind: str, credentials: Mapping[str, object], options: Mapping[str, object] | None = None) -> Account:
    """An account with these."""
    return Account(provider_id=1, public_id="p", kind=kind, credentials=credentials, options=options or {})


def without(account: Account, name: str) -> Account:
    """The account without that setting."""
    return replace(
        account,
        credentials={each: value for each, value in account.credentials.items() if each != name},
        options={each: value for each, value in account.options.items() if each != name},
    )


def inbound(body: bytes, kind: str = "application/json", *, received_at: datetime = NOW) -> Inbound:
    """A POST of this body to an account's receipt address."""
    return Inbound(
        method="POST",
        url="https://example.org/r",
        headers={"content-type": kind},
        body=body,
        received_at=received_at,
    )


def read(reader: ReceiptReader, request: Inbound, account: Account) -> Sequence[Receipt]:
    """What the account's reader makes of a request; there is nothing to fetch."""
    return asyncio.run(_read(reader, request, account))


async def _read(reader: ReceiptReader, request: Inbound, account: Account) -> Sequence[Receipt]:
    return await reader(request, account, nothing)


async def nothing(url: str) -> bytes:
    """There is nothing to fetch."""
    raise OSError(url)
