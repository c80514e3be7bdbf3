"""Many connections to one server, each with a pool of its own.

httpcore looks at every connection of a pool for every request, and asks the operating system of each idle one whether
it is still there: with fifty connections that is three quarters of what a request costs (`benchmarks/providers.py`).
Here a request takes a transport that nobody uses, the one used last first, so that the others fall idle and close.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx


class Spread(httpx.AsyncBaseTransport):
    """As many calls in flight as there are transports; the next ones wait."""

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], count: int) -> None:
        self._all = [make() for _ in range(count)]
        self._free = list(self._all)
        self._seats = asyncio.Semaphore(count)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """The answer; raises `httpx.PoolTimeout` when no transport comes free in time: nothing was sent."""
        try:
            async with asyncio.timeout(request.extensions.get("timeout", {}).get("pool")):
                await self._seats.acquire()
        except TimeoutError:
            raise httpx.PoolTimeout("no connection came free in time", request=request) from None
        transport = self._free.pop()
        try:
            response = await transport.handle_async_request(request)
        except BaseException:
            self._give(transport)
            raise
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _Held(stream, lambda: self._give(transport))
        return response

    async def aclose(self) -> None:
        """Close every connection."""
        for transport in self._all:
            await transport.aclose()

    def _give(self, transport: httpx.AsyncBaseTransport) -> None:
        self._free.append(transport)
        self._seats.release()


class _Held(httpx.AsyncByteStream):
    """A body that lets its transport go when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, let_go: Callable[[], None]) -> None:
        self._stream = stream
        self._let_go: Callable[[], None] | None = let_go

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        """Close it; again is no harm."""
        let_go, self._let_go = self._let_go, None
        try:
            await self._stream.aclose()
        finally:
            if let_go is not None:
                let_go()
