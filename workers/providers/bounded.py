"""An answer that ends: httpx counts the time between two bytes, so a server that sends one a second is never late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx

WHOLE_ANSWER_S = 45.0
"""For a request and its whole answer, waiting for a connection included: less than a lease."""
MOST_BYTES = 4 * 1024 * 1024
"""Of an answer, as it comes; one for a thousand recipients has some hundred kilobytes."""


class BoundedClient(httpx.AsyncClient):
    """httpx's client, whose answers come to an end in time and in size."""

    def __init__(self, *, whole_answer_s: float = WHOLE_ANSWER_S, most_bytes: int = MOST_BYTES, **how: Any) -> None:  # noqa: ANN401  httpx's own
        super().__init__(**how)
        self._whole_answer_s = whole_answer_s
        self._most_bytes = most_bytes

    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:  # noqa: ANN401  httpx's own
        """The answer; raises `httpx.ReadTimeout` or `httpx.ReadError` for one that does not end."""
        stream = bool(how.pop("stream", False))
        try:
            async with asyncio.timeout(self._whole_answer_s):
                response = await super().send(request, stream=True, **how)
                response.stream = _Capped(cast("httpx.AsyncByteStream", response.stream), self._most_bytes, request)
                if stream:
                    return response
                try:
                    await response.aread()
                finally:
                    await response.aclose()
                return response
        except TimeoutError:
            reason = f"no whole answer within {self._whole_answer_s:g} s"
            raise httpx.ReadTimeout(reason, request=request) from None


class _Capped(httpx.AsyncByteStream):
    """A body up to so many bytes."""

    def __init__(self, stream: httpx.AsyncByteStream, most_bytes: int, request: httpx.Request) -> None:
        self._stream = stream
        self._left = most_bytes
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise httpx.ReadError("the answer is too long", request=self._request)
            yield part

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()
