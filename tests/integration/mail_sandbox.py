"""What the email and SMS adapters are tried against: the sandbox in this loop, and deliveries to make."""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from messaging.local.sandbox.addresses import PORT_NAMES, SandboxAddresses
from messaging.local.sandbox.server import serve
from messaging.message import Content
from workers.providers.base import Minted, Outgoing, Recipient

_PATIENCE_S = 60.0
"""For a sandbox that starts, or answers, on a machine with much else to do."""
ENVELOPE = {"fromEmail": "news@example.org", "fromName": "News"}


class NoTokens:
    """For providers without shared tokens."""

    async def get(self, key: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        """Never asked."""
        raise AssertionError(key, mint)

    async def replace(self, key: str, rejected: str, mint: Callable[[], Awaitable[Minted]]) -> str:
        """Never asked."""
        raise AssertionError(key, rejected, mint)


@contextlib.asynccontextmanager
async def sandbox(directory: Path) -> AsyncIterator[SandboxAddresses]:
    """A running sandbox on files in `directory`."""
    ready: asyncio.Future[SandboxAddresses] = asyncio.get_running_loop().create_future()
    stop = asyncio.Event()
    # Of the system's choice: those that servers of other tests have chosen, and do not listen on yet, stay free.
    ports = dict.fromkeys(PORT_NAMES, 0)
    serving = asyncio.create_task(serve(directory, ports=ports, ready=ready.set_result, stop=stop))
    try:
        async with asyncio.timeout(_PATIENCE_S):
            while not ready.done():
                if serving.done():
                    await serving  # raises why it could not start
                await asyncio.wait([serving], timeout=0.01)
        yield ready.result()
    finally:
        stop.set()
        await serving


async def arrived(addresses: SandboxAddresses, protocol: str) -> list[dict[str, Any]]:
    """What the sandbox accepted over `protocol`, in order."""
    async with httpx.AsyncClient(trust_env=False, timeout=_PATIENCE_S) as client:
        answer = await client.get(f"{addresses.control}/record", params={"protocol": protocol})
    entries = [json.loads(line) for line in answer.text.splitlines()]
    return [entry for entry in entries if entry["outcome"] == "accepted"]


def people(*addresses: str, **settings: Any) -> list[Recipient]:
    """Deliveries to these addresses; tags begin with something of their own."""
    run = secrets.token_hex(4)
    return [
        Recipient(target_id=n, address=address, tag=f"{run}-{n}", uuid=str(UUID(int=n)), **settings)
        for n, address in enumerate(addresses)
    ]


def outgoing(content: Content, **visible: tuple[str, ...]) -> Outgoing:
    """A message with this content."""
    return Outgoing(message_id="m1", content=content, expires_at=datetime.now(UTC) + timedelta(hours=1), **visible)
