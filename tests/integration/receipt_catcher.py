"""An account at the sandbox that sends, and a receipt address on loopback that keeps what comes back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, cast

import httpx

from messaging.catalog import KINDS
from messaging.local.sandbox import web
from messaging.local.sandbox.addresses import SandboxAddresses
from messaging.local.sandbox.credentials import sendgrid_credentials, sendgrid_webhook_keys, twilio_credentials
from messaging.message import Content
from messaging.outcome import Outcome
from messaging.receipt import Inbound, Receipt
from tests.integration.mail_sandbox import ENVELOPE, NoTokens, outgoing
from workers.providers.base import Account, Adapter, Context, Recipient


@dataclass
class Catcher:
    """What came to `url`; the first `refusals` requests are answered 503 and not kept."""

    url: str = ""
    caught: list[Inbound] = field(default_factory=list)
    refusals: int = 0
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, count: int) -> list[Inbound]:
        """The requests, once there are so many."""
        async with asyncio.timeout(60):
            while len(self.caught) < count:
                self._news.clear()
                await self._news.wait()
        return self.caught

    async def receipts(self, account: Account, count: int) -> list[Receipt]:
        """What the account's reader makes of the requests, once these are so many receipts."""
        while True:
            read = len(self.caught)  # others may come meanwhile
            found = await receipts_in(self.caught[:read], account)
            if len(found) >= count:
                return found
            await self.until(read + 1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer each request of a connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.partition(":") for line in lines if line)
                headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = start.split(" ")
                url = f"http://{headers['host']}{path}"
                status = b"503 Not Now" if self.refusals else b"200 OK"
                if self.refusals:
                    self.refusals -= 1
                else:
                    self.caught.append(
                        Inbound(method=method, url=url, headers=headers, body=body, received_at=datetime.now(UTC))
                    )
                writer.write(b"HTTP/1.1 %s\r\ncontent-length: 0\r\n\r\n" % status)
                await writer.drain()
                self._news.set()
        writer.close()


@contextlib.asynccontextmanager
async def catching() -> AsyncIterator[Catcher]:
    """A catcher that listens while the block runs."""
    catcher = Catcher()
    server = await asyncio.start_server(catcher.serve, "127.0.0.1", 0)
    catcher.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/receipts/key"
    try:
        yield catcher
    finally:
        server.close()


async def nothing(url: str) -> bytes:
    """There is nothing to fetch at any address."""
    raise OSError(f"nothing at {url}")


async def receipts_in(requests: Sequence[Inbound], account: Account) -> list[Receipt]:
    """What the account's reader makes of the requests."""
    read = _module(account).read_receipts
    return [receipt for request in list(requests) for receipt in await read(request, account, nothing)]


def account_of(kind: str, **changed: object) -> Account:
    """An account the sandbox takes, but for what is changed."""
    fields = _fields(kind) | changed
    names = {one.name for one in KINDS[kind].credentials}
    return Account(
        provider_id=1,
        public_id="p",
        kind=kind,
        credentials={name: value for name, value in fields.items() if name in names},
        options={name: value for name, value in fields.items() if name not in names},
    )


def keyed_account(kind: str) -> tuple[Account, str]:
    """An account, and the key its webhook is registered with."""
    if kind == "sendgrid":  # the one kind whose key is made of two halves
        private, public = sendgrid_webhook_keys()
        return account_of(kind, webhookKey=public), private
    account = account_of(kind)
    return account, webhook_key(account)


def webhook_key(account: Account) -> str:
    """The key the sandbox signs the account's receipts with, where it does not follow from the request."""
    if account.kind not in web.names():
        return ""
    return web.stand_in(account.kind).webhook_key({**account.credentials, **account.options})


def opened(addresses: SandboxAddresses, account: Account, receipts_url: str | None = None) -> Adapter:
    """The account's adapter; `receipts_url` goes with each message where the kind has a place for it."""
    endpoints = {name: str(address) for name, address in addresses.as_json().items()}
    context = Context(tokens=NoTokens(), endpoints=endpoints, concurrency=10, receipts_url=receipts_url)
    return cast("Adapter", _module(account).open_adapter(account, context))


async def sent(
    addresses: SandboxAddresses,
    account: Account,
    to: Sequence[Recipient],
    content: Content,
    *,
    receipts_url: str | None = None,
) -> list[Outcome]:
    """The outcomes of one call, by an adapter of its own."""
    adapter = opened(addresses, account, receipts_url)
    try:
        return list(await adapter.send(adapter.prepare(outgoing(content)), to))
    finally:
        await adapter.aclose()


async def checked(addresses: SandboxAddresses, account: Account) -> Outcome:
    """What a check says of the account."""
    adapter = opened(addresses, account)
    try:
        return await adapter.check()
    finally:
        await adapter.aclose()


async def control(addresses: SandboxAddresses, path: str, **body: object) -> Mapping[str, Any]:
    """What the sandbox's control address answers to a POST."""
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = (await client.post(f"{addresses.control}/{path}", json=body)).raise_for_status()
    return cast("Mapping[str, Any]", answer.json())


async def register(addresses: SandboxAddresses, account: Account, url: str, key: str | None = None) -> None:
    """Have the account's receipts sent to `url`."""
    found = webhook_key(account) if key is None else key
    await control(addresses, "webhooks", kind=account.kind, url=url, key=found)


def _fields(kind: str) -> dict[str, Any]:
    match kind:
        case "sendgrid":
            return sendgrid_credentials() | ENVELOPE
        case "twilio":
            return twilio_credentials() | {"from": "+15005550006"}
        case _:
            return web.stand_in(kind).fields()


def _module(account: Account) -> Any:
    return import_module(f"workers.providers.{KINDS[account.kind].module}")
