"""Requests that differ in their body alone: address and headers are worked out once.

httpx parses the address and merges headers, cookies and parameters for each request, which takes longer than sending a
small one (`benchmarks/providers.py`).
"""

from __future__ import annotations

import httpx


class Posting:
    """Makes POST requests to one address."""

    def __init__(self, client: httpx.AsyncClient, path: str, *, content_type: str) -> None:
        """`path` is what the client takes, relative to its base address; the client's own headers are sent too."""
        first = client.build_request("POST", path, content=b"", headers={"content-type": content_type})
        self._url, self._extensions = first.url, first.extensions
        self._headers = [(name, value) for name, value in first.headers.raw if name.lower() != b"content-length"]
        self._by_length: dict[int, httpx.Headers] = {}

    def __call__(self, content: bytes) -> httpx.Request:
        """The request with this body."""
        length = len(content)
        headers = self._by_length.get(length)
        if headers is None:
            headers = httpx.Headers([*self._headers, (b"Content-Length", b"%d" % length)])
            if len(self._by_length) < _LENGTHS_KEPT:
                self._by_length[length] = headers
        request = httpx.Request(
            "POST", self._url, headers=headers, stream=httpx.ByteStream(content), extensions=self._extensions
        )
        request.read()
        return request


_LENGTHS_KEPT = 256
"""Bodies that differ in a recipient have few lengths."""
