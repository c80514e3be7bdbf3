"""A receipt address on loopback that keeps every request as it came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from messaging.receipt import Inbound


@dataclass
class Catcher:
    """What came to `url`."""

    url: str = ""
    caught: list[Inbound] = field(default_factory=list)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, count: int) -> list[Inbound]:
        """The requests, once there are so many."""
        async with asyncio.timeout(20):
            while len(self.caught) < count:
                self._news.clear()
                await self._news.wait()
        return self.caught

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer 200 to each request of a connection."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.partition(":") for line in lines if line)
                headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = start.split(" ")
                url = f"http://{headers['host']}{path}"
                self.caught.append(
                    Inbound(method=method, url=url, headers=headers, body=body, received_at=datetime.now(UTC))
                )
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
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
