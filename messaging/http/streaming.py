"""Answers that are read from the database while they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from messaging.http.context import Context
from messaging.http.operations import Stream


class PiecesResponse(StreamingResponse):
    """Sends a `Stream`: never more than a piece of it in memory, and no connection held while a slow reader reads."""

    def __init__(self, context: Context, stream: Stream, status: int) -> None:
        super().__init__(_pieces(context, stream), status)
        self.headers["content-length"] = str(stream.size)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; to HEAD only the headers."""
        if scope["method"] == "HEAD":
            self.body_iterator = _nothing()
        await super().__call__(scope, receive, send)


async def _pieces(context: Context, stream: Stream) -> AsyncIterator[bytes]:
    for number in range(stream.pieces):
        yield await context.in_thread(partial(_piece, context, stream, number), long=True)


def _piece(context: Context, stream: Stream, number: int) -> bytes:
    with context.engine.begin() as connection:
        return stream.read(connection, number)


async def _nothing() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for piece in nothing:
        yield piece
