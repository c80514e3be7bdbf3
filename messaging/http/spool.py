"""A request's body as a file: written down as it comes in, so that a long one takes no memory."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from tempfile import SpooledTemporaryFile
from typing import IO

import anyio.to_thread
from starlette.requests import ClientDisconnect, Request

from messaging.http.body import too_large
from messaging.http.errors import ApiError

_IN_MEMORY_BYTES = 1024 * 1024
"""Then the file goes to disk."""


@dataclass(frozen=True, kw_only=True)
class Spooled:
    """A body that was written down."""

    file: IO[bytes]
    """At its beginning; its maker closes it."""
    sha256: str
    media_type: str


def media_type_of(request: Request) -> str:
    """The media type of the body, in lower case and without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


@contextmanager
def temporary_file() -> Iterator[IO[bytes]]:
    """A file that is gone when the block ends."""
    with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
        yield file


async def spool(request: Request, file: IO[bytes], *, most: int) -> Spooled:
    """The body, written to `file`; raises `ApiError` 413 as soon as it is longer than `most` bytes."""
    said = request.headers.get("content-length")
    if said is not None and said.isascii() and said.isdigit() and int(said) > most:
        raise too_large(most)
    digest = hashlib.sha256()
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size > most:
                raise too_large(most)
            digest.update(piece)
            if size > _IN_MEMORY_BYTES:
                await anyio.to_thread.run_sync(file.write, piece)
            else:
                file.write(piece)
    except ClientDisconnect:
        raise ApiError(HTTPStatus.BAD_REQUEST, "general_bad_request", "The request ended in its middle.") from None
    file.seek(0)
    return Spooled(file=file, sha256=digest.hexdigest(), media_type=media_type_of(request))
