"""One request on its way through the HTTP/2 client."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from workers.providers.http2_answer import NotSentError, Response, UnknownOutcomeError


@dataclass(slots=True, eq=False)
class Call:
    """A request and what has come back so far; `future` brings the answer."""

    future: asyncio.Future[Response]
    pseudo: Sequence[tuple[str, str]]
    path: str
    headers: Sequence[tuple[str, str]]
    body: bytes
    stream_id: int = 0
    sent: int = 0
    """Bytes of the body handed to the transport."""
    begun: bool = False
    """Whether anything of an answer came: then the server has looked at it."""
    status: int = 0
    response: tuple[tuple[bytes, bytes], ...] = ()
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0
    unacknowledged: int = 0

    @property
    def left(self) -> bool:
        """Whether the whole request was handed to the transport."""
        return self.stream_id != 0 and self.sent >= len(self.body)

    def fail(self, error: NotSentError | UnknownOutcomeError) -> None:
        """End with `error`, unless it has ended."""
        if not self.future.done():
            self.future.set_exception(error)
