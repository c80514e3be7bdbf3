"""An answer that ends: httpx counts the time between two bytes, so a server that sends one a second is never late."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, cast

import httpx

from workers.providers.http1_transport import MOST_BYTES, Http1Transport

WHOLE_ANSWER_S = 45.0
"""For a request and its whole answer, waiting for a connection included: less than a lease."""


class BoundedClient(httpx.AsyncClient):
    """httpx's client, whose answers come to an end in time and in size."""

    def __init__(self, *, whole_answer_s: float = WHOLE_ANSWER_S, most_bytes: int = MOST_BYTES, **how: Any) -> None:  # noqa: ANN401  httpx's own
        super().__init__(**how)
        self._whole_answer_s = whole_answer_s
        self._most_bytes = most_bytes

    async def send(self, request: httpx.Request, **how: Any) -> httpx.Response:  # noqa: ANN401  httpx's own
        """The answer; raises `httpx.ReadTimeout` or `httpx.ReadError` for one that does not end."""
        stream = bool(how.pop("stream", False))
        if not stream and not how and self._is_plain(request):
            return await self._send_plain(request)
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
            raise self._late(request) from None

    def _is_plain(self, request: httpx.Request) -> bool:
        """Whether nothing is to be done for it but handing it to the transport."""
        return isinstance(self._transport, Http1Transport) and not request.url.userinfo and not self.is_closed

    async def _send_plain(self, request: httpx.Request) -> httpx.Response:
        """What httpx does without redirects, cookies, hooks and a login that answers; a third of the time."""
        try:
            async with asyncio.timeout(self._whole_answer_s):
                response = await self._transport.handle_async_request(request)
        except TimeoutError:
            raise self._late(request) from None
        response.request = request
        await response.aread()
        return response

    def _late(self, request: httpx.Request) -> httpx.ReadTimeout:
        return httpx.ReadTimeout(f"no whole answer within {self._whole_answer_s:g} s", request=request)


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
